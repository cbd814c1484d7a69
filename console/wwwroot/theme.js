// Light or dark, decided before the first paint and again whenever the choice or the operating system changes.
'use strict';
window.yizhanTheme = (() => {
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  const apply = () => {
    const choice = root.dataset.themeChoice;
    root.dataset.theme = choice === 'dark' || (choice !== 'light' && system.matches) ? 'dark' : 'light';
  };
  system.addEventListener('change', apply);
  apply();
  return {
    choose(choice) {
      root.dataset.themeChoice = choice;
      document.cookie = `yizhan-theme=${choice}; path=/; max-age=31536000; samesite=lax`;
      apply();
    },
  };
})();
