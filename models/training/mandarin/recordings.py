#!/usr/bin/env python3
"""Writes the test set of the pack `mandarin-phrases`: 120 phrases of the held-out fifth of its grammar in held-out voices of espeak-ng, clean, with noise and as a telephone.

Usage: models/training/mandarin/recordings.py FOLDER     then: yizhan asr figures --set FOLDER/clean.tsv --set FOLDER/noise.tsv --set FOLDER/telephone.tsv
"""
import os
import random
import sys
import wave

import numpy as np
from scipy.signal import butter, resample_poly, sosfilt

from voices import HELD_OUT_PHRASES, HELD_OUT_VOICES, LEXICON, sample, speak

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
rng, noise = random.Random(2026), np.random.default_rng(2026)
sets = {name: open(os.path.join(folder, name + ".tsv"), "w", encoding="utf-8") for name in ("clean", "noise", "telephone")}


def write(name, set_name, text, samples, rate):
    with wave.open(os.path.join(folder, name), "wb") as wav:
        wav.setparams((1, 2, rate, 0, "NONE", ""))
        wav.writeframes((np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes())
    sets[set_name].write(f"{name}\tcmn\t{text}\n")


for i in range(120):
    words = sample(HELD_OUT_PHRASES[i % len(HELD_OUT_PHRASES)], rng)
    spoken = speak([s for w in words for s in LEXICON[w]], HELD_OUT_VOICES[i % len(HELD_OUT_VOICES)], rng.randint(140, 210), rng.randint(25, 75))
    spoken = resample_poly(spoken, 320, 441) * 0.5
    spoken = np.concatenate([np.zeros(8000), spoken, np.zeros(16000)]) + noise.normal(0, 0.0005, len(spoken) + 24000)
    text, level = "".join(words), np.sqrt(np.mean(spoken ** 2))
    write(f"clean-{i:03}.wav", "clean", text, spoken, 16000)
    write(f"noise-{i:03}.wav", "noise", text, spoken + noise.normal(0, level * 10 ** (-15 / 20), len(spoken)), 16000)
    write(f"telephone-{i:03}.wav", "telephone", text, resample_poly(sosfilt(butter(4, [300, 3400], "bandpass", fs=16000, output="sos"), spoken), 1, 2), 8000)
for file in sets.values():
    file.close()
