// The bare page of the tests: one SIP client, a generated tone as microphone, an analyser as ear.
// The driver calls `window.tab.*` and is told events by `window.report`.
import { JsSipClient } from "./jssip.js";
import { SipJsClient } from "./sipjs.js";

const context = new AudioContext({ sampleRate: 48000 });
const oscillator = new OscillatorNode(context, { frequency: 440 });
const volume = new GainNode(context, { gain: 0.5 });
const microphone = new MediaStreamAudioDestinationNode(context);
oscillator.connect(volume).connect(microphone);
oscillator.start();

const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0, minDecibels: -120 });
let client;
let ear;

/// Plays what a peer connection receives into the analyser. Chromium decodes a remote track only
/// while an element plays it.
function listen(connection) {
  connection.addEventListener("track", ({ track, streams }) => {
    const stream = streams[0] ?? new MediaStream([track]);
    const element = new Audio();
    element.muted = true;
    element.srcObject = stream;
    element.play().catch(() => {});
    ear?.disconnect();
    ear = context.createMediaStreamSource(stream);
    ear.connect(analyser);
  });
  connection.addEventListener("iceconnectionstatechange", () => report("ice", { state: connection.iceConnectionState }));
  connection.addEventListener("connectionstatechange", () => report("connection", { state: connection.connectionState }));
}

/// Names more sub-protocols in every handshake: JavaScript cannot set its headers.
function offer(protocols) {
  const Native = window.WebSocket;
  window.WebSocket = class extends Native {
    constructor(url, asked) {
      super(url, [asked, protocols].flat());
    }
  };
}

/// Exchanges a token for a ticket, as a page of another origin does.
async function ticket({ url, token }) {
  const response = await fetch(url, { method: "POST", headers: { authorization: `Bearer ${token}` } });
  const retryAfter = response.headers.get("retry-after");
  return { status: response.status, retryAfter, ...(await response.json()) };
}

/// Learns who the user is before there is a client: his page knows nothing but his token.
async function admit(options) {
  const session = await ticket(options.session);
  if (session.status !== 200) throw new Error(JSON.stringify(session));
  [options.user, options.domain] = session.uri.replace("sip:", "").split("@");
  options.server = `${options.server}?ticket=${session.ticket}`;
  report("admitted", session);
}

function report(event, details = {}) {
  window.report({ event, ...details });
}

window.tab = {
  async start(options) {
    await context.resume();
    if (options.protocols) offer(options.protocols);
    if (options.session) await admit(options);
    const Client = { jssip: JsSipClient, sipjs: SipJsClient }[options.client];
    client = new Client(options, { microphone: microphone.stream, listen, report });
    await client.start();
  },
  register: () => client.register(),
  /// Another access token for the same user.
  renew: ({ token }) => client.renew(token),
  ticket,
  unregister: () => client.unregister(),
  stop: () => client.stop(),
  call: ({ target, anonymous }) => client.call(target, anonymous),
  answer: () => client.answer(),
  reject: ({ status }) => client.reject(status),
  hangup: () => client.hangup(),
  hangupOther: () => client.hangupOther(),
  hold: () => client.hold(),
  resume: () => client.resume(),
  dtmf: ({ tones, how }) => client.dtmf(tones, how),
  refer: ({ target }) => client.refer(target),
  /// Joins the far ends of the two calls that the tab has.
  referToOther: () => client.referToOther(),
  message: ({ target, text }) => client.message(target, text),
  subscribe: ({ target, package: event }) => client.subscribe(target, event),
  unsubscribe: () => client.unsubscribe(),
  /// Closes the WebSocket without telling the client, as a lost network does.
  drop: () => client.drop(),
  restartIce: () => client.restartIce(),

  tone: ({ frequency }) => {
    oscillator.frequency.value = frequency;
  },
  silence: () => {
    volume.gain.value = 0;
  },

  /// The strongest frequencies received just now, loudest first.
  hear() {
    const levels = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(levels);
    const width = context.sampleRate / analyser.fftSize;
    const peaks = [];
    for (let bin = 8; bin < 4000 / width; bin += 1) {
      if (levels[bin] > -70 && levels[bin] >= levels[bin - 1] && levels[bin] > levels[bin + 1]) {
        peaks.push({ frequency: bin * width, level: levels[bin] });
      }
    }
    peaks.sort((a, b) => b.level - a.level);
    return peaks.slice(0, 4);
  },

  async stats() {
    const found = { received: 0, lost: 0, jitter: 0, sent: 0, remoteLost: null, remoteFraction: null, roundTrip: null, codec: null };
    for (const connection of client.connections()) {
      const report = await connection.getStats();
      for (const entry of report.values()) {
        if (entry.type === "inbound-rtp") {
          found.received += entry.packetsReceived;
          found.lost += entry.packetsLost;
          found.jitter = entry.jitter;
          found.codec = report.get(entry.codecId)?.mimeType ?? null;
        } else if (entry.type === "outbound-rtp") {
          found.sent += entry.packetsSent;
        } else if (entry.type === "remote-inbound-rtp") {
          found.remoteLost = entry.packetsLost;
          found.remoteFraction = entry.fractionLost;
          found.roundTrip = entry.roundTripTime ?? null;
        }
      }
    }
    return found;
  },

  /// What went over the WebSocket so far, if the client was started with `trace`.
  trace: () => client.trace ?? [],

  /// The descriptions of both sides, for a failed case.
  descriptions: () =>
    client.connections().map(({ localDescription, remoteDescription }) => ({
      local: localDescription?.sdp,
      remote: remoteDescription?.sdp,
    })),
};
report("loaded");
