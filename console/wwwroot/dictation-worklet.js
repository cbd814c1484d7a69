// Hands the microphone's blocks to the page.
'use strict';
registerProcessor('microphone', class extends AudioWorkletProcessor {
  process([[channel]]) {
    if (channel) this.port.postMessage(channel.slice());
    return true;
  }
});
