using Yizhan.Console;
using Yizhan.Platform;

return await ServiceHost.RunAsync(() => new ServiceHost(args).Add<ConsoleModule>());
