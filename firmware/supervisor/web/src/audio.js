// Sound that the page makes and measures itself: ringing, key tones, levels.

let context;

/** The page's one audio context, started by the first gesture that needs it. */
export function audioContext() {
  context ??= new AudioContext();
  if (context.state === "suspended") context.resume().catch(() => {});
  return context;
}

/** Measures the loudness and the strongest tone of a stream. */
export class Level {
  constructor(stream) {
    const audio = audioContext();
    this.source = audio.createMediaStreamSource(stream);
    this.analyser = audio.createAnalyser();
    this.analyser.fftSize = 8192;
    this.analyser.smoothingTimeConstant = 0.2;
    this.source.connect(this.analyser);
    this.samples = new Float32Array(2048);
    this.spectrum = new Float32Array(this.analyser.frequencyBinCount);
  }

  /** Loudness on a scale of 0 to 100; 0 is -60 dBFS and below. */
  loudness() {
    this.analyser.getFloatTimeDomainData(this.samples);
    let sum = 0;
    for (const sample of this.samples) sum += sample * sample;
    const decibel = 10 * Math.log10(sum / this.samples.length + 1e-10);
    return Math.max(0, Math.min(100, ((decibel + 60) / 60) * 100));
  }

  /** The strongest frequency in Hz, or 0 in silence. */
  strongestTone() {
    this.analyser.getFloatFrequencyData(this.spectrum);
    let best = 0;
    for (let bin = 1; bin < this.spectrum.length; bin += 1) {
      if (this.spectrum[bin] > this.spectrum[best]) best = bin;
    }
    if (best === 0 || this.spectrum[best] < -75) return 0;
    return (best * audioContext().sampleRate) / this.analyser.fftSize;
  }

  stop() {
    this.source.disconnect();
  }
}

const KEY_TONES = {
  1: [697, 1209], 2: [697, 1336], 3: [697, 1477],
  4: [770, 1209], 5: [770, 1336], 6: [770, 1477],
  7: [852, 1209], 8: [852, 1336], 9: [852, 1477],
  "*": [941, 1209], 0: [941, 1336], "#": [941, 1477],
};

/** Lets the person hear the key that was pressed. */
export function playKey(key) {
  for (const frequency of KEY_TONES[key] ?? []) beep(frequency, 0.12, 0.05);
}

/** The tone that tells the caller that it rings at the far end. */
export const ringback = cadence(() => beep(425, 1, 0.06), 4000);

/** The ring of an incoming call. */
export const ring = cadence(() => {
  for (let n = 0; n < 4; n += 1) beep(n % 2 ? 554 : 440, 0.2, 0.12, n * 0.22);
}, 3000);

function cadence(play, every) {
  let timer;
  return {
    start() {
      if (timer) return;
      play();
      timer = setInterval(play, every);
    },
    stop() {
      clearInterval(timer);
      timer = undefined;
    },
  };
}

function beep(frequency, seconds, volume, after = 0) {
  const audio = audioContext();
  const start = audio.currentTime + after;
  const oscillator = audio.createOscillator();
  const gain = audio.createGain();
  oscillator.frequency.value = frequency;
  gain.gain.setValueAtTime(0, start);
  gain.gain.linearRampToValueAtTime(volume, start + 0.01);
  gain.gain.setValueAtTime(volume, start + seconds - 0.02);
  gain.gain.linearRampToValueAtTime(0, start + seconds);
  oscillator.connect(gain).connect(audio.destination);
  oscillator.start(start);
  oscillator.stop(start + seconds);
}
