"""Phrases of the pack spoken by espeak-ng: what both training and the test set are made of."""
import os
import random
import subprocess
import tempfile
import wave

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
INITIALS = ["zh", "ch", "sh"] + list("bpmfdtnlgkhjqxrzcsyw")

# No recording of the training has one of these voices, and none says a phrase of the held-out fifth of the grammar.
HELD_OUT_VOICES = ["m7", "f4", "Mario", "linda", "steph", "klatt3"]
TRAINING_VOICES = ["", "m1", "m2", "m3", "m4", "m5", "m6", "m8", "f1", "f2", "f3", "f5", "Alicia", "Andy", "Annie", "Diogo", "Gene", "Gene2", "Hugo", "Jacky", "Lee", "Marco",
                   "Michael", "Mike", "adam", "antonio", "aunty", "belinda", "benjamin", "boris", "david", "ed", "edward", "grandma", "grandpa", "iven", "iven2", "john",
                   "klatt", "klatt2", "klatt4", "max", "michel", "miguel", "norbert", "pablo", "paul", "quincy", "rob", "robert", "sandro", "shelby", "steph2", "travis", "victor", "zac"]


def phones(syllable):
    """Initial and final of a syllable in pinyin; the tone is not kept. The u of ju, qu, xu, yu is another sound than that of zhu, and so is the i of zhi and zi."""
    syllable = syllable.rstrip("12345")
    initial = next((i for i in INITIALS if syllable.startswith(i)), "")
    final = syllable[len(initial):]
    if initial in ("j", "q", "x", "y") and final.startswith("u"):
        final = "v" + final[1:]
    if final == "i" and initial in ("zh", "ch", "sh", "r"):
        final = "ih"
    if final == "i" and initial in ("z", "c", "s"):
        final = "iz"
    return ([initial] if initial else []) + [final]


def table(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return [line.rstrip("\n").split("\t") for line in file if line.strip() and line[0] != "#"]


LEXICON = {word: reading.split() for word, reading in table("lexicon.tsv")}
CHARACTERS = {}
for reading, characters in table("characters.tsv"):
    for character in characters:
        CHARACTERS.setdefault(character, [reading])
for word, reading in LEXICON.items():
    if len(word) == 1:
        CHARACTERS[word] = [reading[0].rstrip("12345")]
SYLLABLES = sorted({r[0] for r in CHARACTERS.values()} | {s.rstrip("12345") for r in LEXICON.values() for s in r})
TOKENS = ["<b>"] + sorted({p for s in SYLLABLES for p in phones(s)})


def grammar():
    classes, phrases = {}, []
    with open(os.path.join(HERE, "phrases.txt"), encoding="utf-8") as file:
        for line in file:
            line = line.strip()
            if " = " in line:
                name, rest = line.split(" = ")
                classes[name] = [a.split() for a in rest.split(" | ")]
            elif line and line[0] != "#":
                phrases.append(line.split())
    classes["$hot"] = [["阿司匹林"]]
    return classes, phrases


CLASSES, PHRASES = grammar()
HELD_OUT_PHRASES = [p for i, p in enumerate(PHRASES) if i % 5 == 2]
TRAINING_PHRASES = [p for i, p in enumerate(PHRASES) if i % 5 != 2]


def sample(phrase, rng):
    words = []
    for word in phrase:
        words += sample(rng.choice(CLASSES[word]), rng) if word[0] == "$" else [word]
    return words


def speak(syllables, voice, speed, pitch, gap=0):
    """16 kHz is made of what comes out by the caller: 22050 samples a second, -1 to 1."""
    with tempfile.NamedTemporaryFile(suffix=".wav", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as file:
        text = " ".join(s if s[-1].isdigit() else s + "1" for s in syllables)
        subprocess.run(["espeak-ng", "-v", "cmn-latn-pinyin" + ("+" + voice if voice else ""), "-s", str(speed), "-p", str(pitch), "-g", str(gap), "-w", file.name, text],
                       check=True, stderr=subprocess.DEVNULL)
        with wave.open(file.name) as wav:
            return np.frombuffer(wav.readframes(wav.getnframes()), np.int16).astype(np.float32) / 32768
