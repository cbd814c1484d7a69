// Dictation: microphone → WebSocket of nmt-asr → text → note. What the service has not acknowledged is kept here and sent again after a break, so a
// line that comes and goes loses nothing; the service says from which sample to go on. On a slow line the browser's own recorder makes Opus of it, an
// eighth of the bytes, and offsets count those bytes.
'use strict';
window.yizhanDictation = async (page, words) => {
  const rate = 16000, frame = 1600, mostKept = rate * 60 * 15, opus = { mimeType: 'audio/webm;codecs=opus', audioBitsPerSecond: 32000 };
  const byId = id => page.querySelector('#' + id);
  const [dialect, slow, begin, pause, finish, state, warning, text, partial, translation, form, send, sent, files, uploads] =
    ['dialect', 'slow', 'begin', 'pause', 'finish', 'state', 'warning', 'text', 'partial', 'translation', 'note', 'send', 'sent', 'files', 'uploads'].map(byId);
  let live = null;

  const warn = message => { warning.hidden = !message; warning.textContent = message ?? ''; };
  const post = async (path, body) => {
    const answer = await fetch('/nmt-asr/' + path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    const json = await answer.json().catch(() => null);
    if (!answer.ok) throw new Error(json?.detail ?? json?.error ?? `HTTP ${answer.status}`);
    return json;
  };

  const packs = await fetch('/nmt-asr/packs').then(answer => answer.ok ? answer.json() : []).catch(() => []);
  const heard = [...new Set(packs.filter(pack => pack.task === 'asr' && !pack.problem).flatMap(pack => pack.dialects))].sort();
  const names = new Intl.DisplayNames([words.code], { type: 'language', fallback: 'code' });
  for (const code of heard) dialect.add(new Option(`${names.of(code)} (${code})`, code));
  slow.closest('label').hidden = !window.MediaRecorder?.isTypeSupported(opus.mimeType);
  slow.checked = !slow.closest('label').hidden && (navigator.connection?.saveData || /2g|3g/.test(navigator.connection?.effectiveType));
  if (heard.length === 0) {
    begin.disabled = true;
    warn(words.none);
  }

  const translate = async said => {
    const target = /[\u4e00-\u9fff]/.test(said) ? 'en' : 'zh';
    try {
      const { sentences } = await post('translate', { q: said, source: 'auto', target, marks: false });
      for (const sentence of sentences) {
        const line = document.createElement('p');
        line.textContent = sentence.text;
        line.lang = target;
        const mark = sentence.problems.length > 0 ? `${words.unverified}: ${sentence.problems.join(', ')}` : sentence.origin === 'model' ? words.draft : '';
        if (mark) {
          const label = document.createElement('span');
          label.className = sentence.problems.length > 0 ? 'bad' : 'second';
          label.textContent = ` (${mark})`;
          line.append(label);
        }
        translation.append(line);
      }
    } catch (error) {
      translation.append(words.failed.replace('{0}', error.message));
    }
  };

  const drop = (dictation, { samples, bytes }) => {
    const upTo = dictation.opus ? bytes : samples;
    while (dictation.kept.length > 0 && dictation.kept[0].offset + dictation.kept[0].sound.length <= upTo) dictation.kept.shift();
  };

  const push = (dictation, { offset, sound }) => {
    const message = new ArrayBuffer(8 + sound.byteLength);
    new DataView(message).setBigInt64(0, BigInt(offset), true);
    new sound.constructor(message, 8).set(sound);
    dictation.socket.send(message);
  };

  const connect = dictation => {
    const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/nmt-asr/live`);
    dictation.socket = socket;
    dictation.ready = false;
    socket.onopen = () => socket.send(JSON.stringify({ session: dictation.id, dialect: dictation.dialect, sampleRate: rate, format: dictation.opus ? 'opus' : 'pcm' }));
    socket.onmessage = event => hear(dictation, JSON.parse(event.data));
    socket.onclose = () => {
      dictation.ready = false;
      if (dictation.over) return;
      state.textContent = words.broken;
      setTimeout(() => connect(dictation), dictation.delay);
      dictation.delay = Math.min(dictation.delay * 2, 5000);
    };
  };

  const hear = (dictation, message) => {
    switch (message.type) {
      case 'ready':
        dictation.ready = true;
        dictation.delay = 250;
        drop(dictation, message);
        for (const chunk of dictation.kept) push(dictation, chunk);
        if (dictation.ending) {
          dictation.socket.send('finish');
          state.textContent = words.finishing;
        } else {
          state.textContent = dictation.paused ? words.paused : words.listening;
        }
        break;
      case 'partial':
        partial.textContent = message.result.text;
        break;
      case 'final':
        partial.textContent = '';
        if (!dictation.finals.has(message.result.segment)) {
          dictation.finals.set(message.result.segment, message.result.text);
          text.value += (text.value && /[a-z]$/i.test(text.value) ? ' ' : '') + message.result.text;
          translate(message.result.text);
        }
        break;
      case 'ack':
        drop(dictation, message);
        break;
      case 'done':
        dictation.over = true;
        partial.textContent = '';
        // A word that was lost on the way back is in the service's own text.
        if (!dictation.edited) text.value = message.text;
        state.textContent = words.finished;
        warn((message.warnings ?? []).map(name => words[name]).filter(Boolean).join(' '));
        send.disabled = false;
        begin.disabled = false;
        break;
      case 'error':
        // Another connection of ours may not be noticed as gone yet: it is tried again. All else is for the person.
        if (message.code === 'busy') break;
        dictation.over = true;
        stopMicrophone(dictation);
        warn(message.detail);
        state.textContent = '';
        begin.disabled = false;
        pause.disabled = finish.disabled = true;
        break;
    }
  };

  const stopMicrophone = dictation => {
    dictation.stream?.getTracks().forEach(track => track.stop());
    dictation.audio?.close();
    dictation.stream = dictation.audio = null;
  };

  const take = (dictation, block) => {
    if (dictation.paused || dictation.ending || dictation.over) return;
    for (const sample of block) dictation.block.push(Math.max(-32768, Math.min(32767, Math.round(sample * 32768))));
    while (dictation.block.length >= frame) keep(dictation, Int16Array.from(dictation.block.splice(0, frame)));
  };

  // The recorder's pieces are read one after the other, and what it says of itself is done after the pieces before.
  const record = dictation => {
    const recorder = dictation.recorder = new MediaRecorder(dictation.stream, opus);
    let last = Promise.resolve();
    const then = step => { last = last.then(step); };
    recorder.ondataavailable = event => then(async () => {
      const sound = new Uint8Array(await event.data.arrayBuffer());
      if (sound.length > 0 && !dictation.over) keep(dictation, sound);
    });
    recorder.onpause = () => then(() => tellPause(dictation));
    // By the button, or because the microphone is gone.
    recorder.onstop = () => then(() => ended(dictation));
    recorder.start(frame * 1000 / rate);
  };

  const keep = (dictation, sound) => {
    const chunk = { offset: dictation.taken, sound };
    dictation.taken += sound.length;
    dictation.kept.push(chunk);
    if (dictation.ready) push(dictation, chunk);
    if (dictation.kept.length * frame > mostKept) {
      warn(words.full);
      end(dictation);
    }
  };

  const tellPause = dictation => {
    if (dictation.paused && dictation.ready && !dictation.ending) dictation.socket.send('pause');
  };

  const end = dictation => {
    pause.disabled = finish.disabled = true;
    if (!dictation.recorder) ended(dictation);
    else if (dictation.recorder.state !== 'inactive') dictation.recorder.stop();
  };

  const ended = dictation => {
    if (dictation.ending || dictation.over) return;
    if (dictation.block.length > 0) keep(dictation, Int16Array.from(dictation.block.splice(0)));
    dictation.ending = true;
    stopMicrophone(dictation);
    pause.disabled = finish.disabled = true;
    if (dictation.ready) {
      dictation.socket.send('finish');
      state.textContent = words.finishing;
    }
  };

  begin.onclick = async () => {
    begin.disabled = true;
    warn(null);
    sent.textContent = text.value = partial.textContent = '';
    translation.replaceChildren();
    const dictation = live = {
      id: crypto.randomUUID(), dialect: dialect.value, opus: slow.checked, kept: [], block: [], taken: 0, finals: new Map(), delay: 250, ready: false, paused: false, ending: false, over: false, edited: false,
    };
    try {
      dictation.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
      if (dictation.opus) {
        record(dictation);
      } else {
        dictation.audio = new AudioContext({ sampleRate: rate });
        await dictation.audio.audioWorklet.addModule('/_content/Yizhan.Console/dictation-worklet.js');
        const node = new AudioWorkletNode(dictation.audio, 'microphone', { numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' });
        node.port.onmessage = event => take(dictation, event.data);
        dictation.audio.createMediaStreamSource(dictation.stream).connect(node);
      }
    } catch (error) {
      stopMicrophone(dictation);
      warn(words.microphone.replace('{0}', error.message));
      begin.disabled = false;
      return;
    }
    send.disabled = true;
    pause.disabled = finish.disabled = false;
    connect(dictation);
  };
  pause.onclick = () => {
    live.paused = !live.paused;
    if (!live.recorder) tellPause(live);
    else if (!live.paused) live.recorder.resume();
    else {
      // What was said until now goes before the word that it has ended.
      live.recorder.requestData();
      live.recorder.pause();
    }
    state.textContent = live.paused ? words.paused : words.listening;
    pause.setAttribute('aria-pressed', live.paused);
  };
  finish.onclick = () => end(live);
  text.oninput = () => { if (live) live.edited = true; };

  form.onsubmit = async event => {
    event.preventDefault();
    send.disabled = true;
    try {
      const note = await post(`dictations/${live.id}/note`, { patientId: byId('patient').value.trim(), title: byId('note-title').value.trim(), text: text.value.trim() });
      sent.textContent = words.sent.replace('{0}', note.reportId).replace('{1}', (note.rate * 100).toFixed(1));
    } catch (error) {
      sent.textContent = words.failed.replace('{0}', error.message);
      send.disabled = false;
    }
  };

  files.onchange = async () => {
    // One after the other: each is heard while it is sent.
    for (const file of [...files.files]) {
      const item = document.createElement('li'), bar = document.createElement('progress'), said = document.createElement('p');
      item.append(`${file.name} `, bar, said);
      bar.max = file.size;
      bar.setAttribute('aria-label', file.name);
      uploads.append(item);
      await new Promise(resolve => {
        const request = new XMLHttpRequest();
        request.open('POST', `/nmt-asr/transcripts?dialect=${encodeURIComponent(dialect.value)}`);
        request.upload.onprogress = event => { bar.value = event.loaded; };
        request.upload.onload = () => { said.textContent = words.reading; };
        request.onloadend = () => {
          bar.value = file.size;
          let answer = null;
          try { answer = JSON.parse(request.responseText); } catch { /* A proxy's page, or nothing. */ }
          said.textContent = request.status === 200 ? answer.text : words.failed.replace('{0}', answer?.detail ?? `HTTP ${request.status}`);
          resolve();
        };
        request.send(file);
      });
    }
    files.value = '';
  };
};
