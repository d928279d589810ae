// Turns the browser's statistics into one sentence that a person can act on.

/** Watches one peer connection; `report` gets {grade, text} once a second. */
export class Quality {
  constructor(connection, report) {
    this.connection = connection;
    this.report = report;
    this.before = undefined;
    this.silent = 0;
    this.timer = setInterval(() => this.sample().catch(() => {}), 1000);
  }

  stop() {
    clearInterval(this.timer);
  }

  async sample() {
    const now = await figures(this.connection);
    const before = this.before ?? now;
    this.before = now;
    const arrived = now.received - before.received;
    const missing = Math.max(0, now.lost - before.lost);
    this.silent = arrived === 0 ? this.silent + 1 : 0;
    this.report(verdict({ ...now, arrived, missing, silent: this.silent }));
  }
}

async function figures(connection) {
  const found = { received: 0, lost: 0, jitter: 0, sent: 0, farLoss: undefined, roundTrip: undefined };
  for (const entry of (await connection.getStats()).values()) {
    if (entry.type === "inbound-rtp" && entry.kind === "audio") {
      found.received = entry.packetsReceived;
      found.lost = entry.packetsLost;
      found.jitter = entry.jitter ?? 0;
    } else if (entry.type === "outbound-rtp" && entry.kind === "audio") {
      found.sent = entry.packetsSent;
    } else if (entry.type === "remote-inbound-rtp" && entry.kind === "audio") {
      found.farLoss = entry.fractionLost;
      found.roundTrip = entry.roundTripTime;
    }
  }
  return found;
}

/** The rule itself, kept apart from the browser so that it can be read alone. */
export function verdict({ received, arrived, missing, jitter, roundTrip, farLoss, silent }) {
  if (received === 0 && silent < 3) return { grade: "wait", text: "Waiting for audio" };
  if (silent >= 3) return { grade: "bad", text: `No audio arrives (${silent} s)` };
  const loss = missing + arrived > 0 ? (100 * missing) / (missing + arrived) : 0;
  const worst = Math.max(loss, 100 * (farLoss ?? 0));
  const facts = [`${loss.toFixed(1)} % lost`, `${Math.round(jitter * 1000)} ms jitter`];
  if (roundTrip !== undefined) facts.push(`${Math.round(roundTrip * 1000)} ms round trip`);
  if (100 * (farLoss ?? 0) >= 1) facts.push(`far end misses ${(100 * farLoss).toFixed(1)} %`);
  const slow = (roundTrip ?? 0) > 0.4 || jitter > 0.06;
  if (worst >= 5 || (slow && worst >= 2)) return { grade: "bad", text: `Poor quality · ${facts.join(" · ")}` };
  if (worst >= 1 || slow) return { grade: "fair", text: `Fair quality · ${facts.join(" · ")}` };
  return { grade: "good", text: `Good quality · ${facts.join(" · ")}` };
}
