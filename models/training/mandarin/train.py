#!/usr/bin/env python3
"""Trains the network of the pack `mandarin-phrases` on synthetic voices and writes the pack's files.

Usage: models/training/mandarin/train.py PACK_FOLDER [MINUTES]     (needs python3-torch, python3-onnx, python3-scipy, libopenblas0-pthread, espeak-ng)

Features (kept in configs/speech.json, and the same in services/nmt-asr-service/Engines/LogMel.cs): 16 kHz, samples of -1 to 1, windows of 400 samples (Hann) every 160,
power spectrum of 512 points, 40 triangular mel filters (2595 log10(1 + f/700)) from 60 to 7600 Hz, natural logarithm, at least 1e-7. No mean is taken away: it would be another
one in a stream. The network sees three windows (30 ms) at a time and nine such frames to each side.
"""
import json
import os
import random
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt

from voices import (CHARACTERS, HELD_OUT_PHRASES, HELD_OUT_VOICES, LEXICON, SYLLABLES, TOKENS, TRAINING_PHRASES, TRAINING_VOICES, phones, sample, speak)

pack, minutes = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 15
UTTERANCES, COPIES, TEST = int(os.environ.get("UTTERANCES", 5000)), 2, 240
torch.set_num_threads(1)
torch.manual_seed(1)
rng, noise = random.Random(1), np.random.default_rng(1)
started = time.time()

HZ = 700 * (10 ** (np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + 7600 / 700), 42) / 2595) - 1)
BINS = np.arange(257) * 16000 / 512
MEL = np.stack([np.clip(np.minimum((BINS - HZ[m]) / (HZ[m + 1] - HZ[m]), (HZ[m + 2] - BINS) / (HZ[m + 2] - HZ[m + 1])), 0, None) for m in range(40)]).astype(np.float32)
WINDOW = np.hanning(401)[:400].astype(np.float32)


def features(x):
    frames = np.lib.stride_tricks.sliding_window_view(x, 400)[::160] * WINDOW
    spectrum = np.fft.rfft(frames, 512)
    power = (spectrum.real ** 2 + spectrum.imag ** 2).astype(np.float32)
    return np.log(np.maximum(power @ MEL.T, 1e-7)).astype(np.float16)


def room(x):
    length = int(16000 * noise.uniform(0.08, 0.5))
    impulse = noise.normal(0, 1, length) * np.exp(-6.9 * np.arange(length) / length)
    impulse[0] = noise.uniform(2, 10)
    return fftconvolve(x, impulse / np.sqrt(np.sum(impulse ** 2)))[:len(x)]


def worn(x, others):
    """As a microphone would bring it: another throat, place, line and level."""
    x = resample_poly(x, 320, int(441 * noise.uniform(0.84, 1.19)))
    x = np.concatenate([np.zeros(int(noise.uniform(800, 8000))), x, np.zeros(int(noise.uniform(1600, 12800)))])
    if noise.random() < 0.4:
        x = room(x)
    if noise.random() < 0.5:
        tilt = noise.uniform(-0.7, 0.7)
        x = x + tilt * np.concatenate([[0], x[:-1]])
    if noise.random() < 0.3:
        x = sosfilt(butter(4, [noise.uniform(80, 320), noise.uniform(3200, 3700)], "bandpass", fs=16000, output="sos"), x)
    level = np.sqrt(np.mean(x ** 2)) + 1e-6
    x = x / level * 10 ** (noise.uniform(-36, -14) / 20)
    level = np.sqrt(np.mean(x ** 2))
    kind, hiss = noise.random(), noise.normal(0, 1, len(x))
    if kind < 0.35:
        hiss = np.cumsum(hiss)
        hiss = hiss - np.convolve(hiss, np.ones(400) / 400, "same")
    elif kind < 0.5 and others:
        hiss = np.resize(sum(np.resize(others[noise.integers(len(others))], len(x)) for _ in range(3)), len(x))
    hiss = hiss / (np.sqrt(np.mean(hiss ** 2)) + 1e-9)
    x = x + hiss * level * 10 ** (-noise.uniform(8, 40) / 20)
    return np.clip(x + noise.normal(0, 2e-5, len(x)), -1, 1).astype(np.float32)


def label(syllables):
    return [TOKENS.index(p) for s in syllables for p in phones(s)]


def utterance(templates):
    if templates is not None:
        return [s for w in sample(rng.choice(templates), rng) for s in LEXICON[w]]
    made = []
    for _ in range(rng.randint(2, 6)):
        made += rng.choice(list(LEXICON.values())) if rng.random() < 0.35 else [rng.choice(SYLLABLES) + rng.choice("1234")]
    return made


train, spoken = [], []
for i in range(UTTERANCES):
    syllables = utterance(TRAINING_PHRASES if rng.random() < 0.5 else None)
    raw = speak(syllables, rng.choice(TRAINING_VOICES), rng.randint(115, 235), rng.randint(10, 90), rng.choice([0, 0, 0, 1, 3]))
    spoken.append(resample_poly(raw, 320, 441).astype(np.float32))
    if len(spoken) > 60:
        spoken.pop(0)
    for _ in range(COPIES):
        train.append((features(worn(raw, spoken)), label(syllables)))
seconds = sum(len(f) for f, _ in train) / 100
print(f"{len(train)} recordings of {seconds / 3600:.1f} h after {time.time() - started:.0f} s", flush=True)
test = []
for i in range(TEST):
    syllables = [s for w in sample(rng.choice(HELD_OUT_PHRASES), rng) for s in LEXICON[w]]
    raw = speak(syllables, rng.choice(HELD_OUT_VOICES), rng.randint(140, 210), rng.randint(25, 75))
    test.append((features(worn(raw, spoken)), label(syllables)))

everything = np.concatenate([f for f, _ in train[::20]]).astype(np.float32)


class Net(nn.Module):
    WIDTH, DILATIONS = 160, [1, 2, 2, 3]

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(everything.mean(0)))
        self.register_buffer("scale", torch.from_numpy(1 / everything.std(0)))
        self.first = nn.Sequential(nn.Conv1d(120, self.WIDTH, 3, padding=1), nn.BatchNorm1d(self.WIDTH), nn.ReLU())
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv1d(self.WIDTH, self.WIDTH, 3, padding=d, dilation=d), nn.BatchNorm1d(self.WIDTH), nn.ReLU()) for d in self.DILATIONS)
        self.last = nn.Conv1d(self.WIDTH, len(TOKENS), 1)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        x = (x - self.mean) * self.scale
        x = x.reshape(x.shape[0], -1, 120).transpose(1, 2)
        x = self.first(x)
        for block in self.blocks:
            x = x + block(self.drop(x))
        return F.log_softmax(self.last(x).transpose(1, 2), 2)


net = Net()
print("parameters", sum(p.numel() for p in net.parameters()), "tokens", len(TOKENS), flush=True)


def batch(items, augment):
    length = (max(len(f) for f, _ in items) + 2) // 3 * 3
    x = np.empty((len(items), length, 40), np.float32)
    for i, (f, _) in enumerate(items):
        x[i, :len(f)] = f
        x[i, len(f):] = f[-1]
        if augment:
            at, wide = noise.integers(0, 36), noise.integers(0, 6)
            x[i, :, at:at + wide] = everything.mean()
            at, wide = noise.integers(0, length), noise.integers(0, 12)
            x[i, at:at + wide] = everything.mean()
    targets = torch.tensor([t for _, y in items for t in y])
    return torch.from_numpy(x), targets, torch.tensor([(len(f) + 2) // 3 for f, _ in items]), torch.tensor([len(y) for _, y in items])


def distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def error_rate(items):
    net.eval()
    wrong = total = 0
    with torch.no_grad():
        for f, y in items:
            best = net(batch([(f, y)], False)[0])[0].argmax(1).tolist()
            heard = [t for i, t in enumerate(best) if t and (i == 0 or best[i - 1] != t)]
            wrong, total = wrong + distance(heard, y), total + len(y)
    return wrong / total


train.sort(key=lambda t: len(t[0]))
batches = [train[i:i + 24] for i in range(0, len(train), 24)]
optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
trained, epoch = time.time(), 0
while time.time() - trained < minutes * 60 and epoch < 30:
    net.train()
    rng.shuffle(batches)
    loss_sum = 0
    for items in batches:
        done = min(1, max((time.time() - trained) / (minutes * 60), epoch / 30))
        for group in optimiser.param_groups:
            group["lr"] = 2.5e-3 * (1 - done) + 2e-5
        x, y, frames, lengths = batch(items, True)
        loss = F.ctc_loss(net(x).transpose(0, 1), y, frames, lengths, blank=0, zero_infinity=True)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5)
        optimiser.step()
        loss_sum += loss.item()
        if done >= 1:
            break
    epoch += 1
    print(f"epoch {epoch} loss {loss_sum / len(batches):.3f} phone error rate {error_rate(test):.3f} wall {time.time() - started:.0f} s cpu {time.process_time():.0f} s", flush=True)
print(f"held-out voices and phrases, worn: phone error rate {error_rate(test):.3f}; training, worn: {error_rate(train[::40]):.3f}")

os.makedirs(os.path.join(pack, "models"), exist_ok=True)
net.eval()
torch.onnx.export(net, torch.zeros(1, 30, 40), os.path.join(pack, "models", "model.onnx"), opset_version=13, input_names=["x"], output_names=["log_probs"],
                  dynamic_axes={"x": {0: "n", 1: "t"}, "log_probs": {0: "n", 1: "t"}})
with open(os.path.join(pack, "models", "tokens.txt"), "w", encoding="utf-8") as out:
    out.writelines(f"{token} {i}\n" for i, token in enumerate(TOKENS))
with open(os.path.join(pack, "models", "lexicon.txt"), "w", encoding="utf-8") as out:
    for word, reading in LEXICON.items():
        out.write(f"{word} {' '.join(p for s in reading for p in phones(s))}\n")
    for character, reading in CHARACTERS.items():
        if character not in LEXICON:
            out.write(f"{character} {' '.join(p for s in reading for p in phones(s))}\n")
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "phrases.txt"), encoding="utf-8") as phrases, open(os.path.join(pack, "models", "phrases.txt"), "w", encoding="utf-8") as out:
    out.write(phrases.read())
# What the service's own features and network are held against: a tone and a chirp.
t = np.arange(16000) / 16000
chirp = (0.3 * np.sin(2 * np.pi * (200 * t + 1500 * t * t))).astype(np.float32)
f = features(chirp).astype(np.float32)[:96]
with torch.no_grad():
    p = net(torch.from_numpy(f)[None])[0].numpy()
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "vectors.json"), "w", encoding="utf-8") as out:
    json.dump({"features": [[round(float(v), 3) for v in row] for row in f[[0, 10, 50, 95]]], "rows": [0, 10, 50, 95], "best": p.argmax(1).tolist(), "most": [round(float(v), 3) for v in p.max(1)]}, out)
