// What is said of logs: figures, issues, the report.  Pure; README.md beside monitor.js is the contract, and Python's
// analysis gives the same text for the same logs.

/** @typedef {{count: number, sum: number, max: number}} Spread */
/** rules.json.
 * @typedef {{version: number, recent: number, sharesFromMs: number, thresholds: Record<string, {value: number, form: string}>,
 *   growth: {samples: number, figures: Record<string, {field: string, of: string, ratio: number}>},
 *   metrics: {label: string, figure: string, form: string}[],
 *   issues: {id: string, figure: string, form: string, over: string | number, text: string, recommendation: string}[]}} Rules */

/** One decimal: 12.34 → "12.3".  @param {number} value */
function tenths(value) {
  const whole = Math.floor(value * 10 + 0.5);
  return `${Math.floor(whole / 10)}.${whole % 10}`;
}

/** How a figure is written.  @type {Record<string, (value: any) => string>} */
const FORMS = {
  ms: (value) => `${tenths(value)}ms`,
  s: (value) => `${tenths(value / 1000)} s`,
  count: (value) => String(Math.floor(value + 0.5)),
  bytes: (value) => String(Math.floor(value + 0.5)),
  mb: (value) => `${tenths(value / 1048576)} MB`,
  percent: (value) => `${tenths(value * 100)} %`,
  trend: (values) => `${values.map(tenths).join(", ")}ms`,
};

/** @param {string} form @param {any} value */
function written(form, value) {
  return value === null || (form === "trend" && !value.length) ? "not measured" : FORMS[form](value);
}

/** @param {number[]} values @param {string} of */
function centre(values, of) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  if (of === "min") return sorted[0];
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** By how much a field of the samples rises steadily; 0 when it does not, null when there are too few.
 * @param {any[]} samples @param {{field: string, of: string, ratio: number}} rule */
function growth(samples, rule) {
  const values = samples.map((sample) => sample[rule.field]).filter((value) => value !== null);
  const n = values.length;
  if (n < RULES.growth.samples) return null;
  const cuts = [0, Math.floor(n / 3), Math.floor((2 * n) / 3), n];
  const [a, b, c] = [0, 1, 2].map((i) => centre(values.slice(cuts[i], cuts[i + 1]), rule.of));
  return a < b && b < c && c >= rule.ratio * a ? c - a : 0;
}

/** Every figure that the rules name.  @param {any} logs @returns {Record<string, any>} */
function figuresOf(logs) {
  const { totals, samples } = logs;
  const last = samples.length ? samples[samples.length - 1] : null;
  /** @param {Spread} spread */
  const mean = (spread) => (spread.count ? spread.sum / spread.count : null);
  /** @param {Spread} spread */
  const max = (spread) => (spread.count ? spread.max : null);
  /** @param {any[]} entries */
  const recent = (entries) =>
    entries.map((entry) => entry.processingMs).filter((value) => value !== null).slice(-RULES.recent);
  /** @type {Record<string, any>} */
  const figures = {
    averageProcessingMs: mean(totals.processingMs),
    maximumProcessingMs: max(totals.processingMs),
    audioLatencies: recent(logs.audio),
    messageLatencies: recent(logs.messages.filter((/** @type {any} */ entry) => entry.direction === "received")),
    audioChunksCount: last && last.audioChunksCount,
    wsBufferedAmount: last && last.wsBufferedAmount,
    eventQueueSize: last && last.eventQueueSize,
    timeToFirstResponseMs: mean(totals.timeToFirstResponseMs),
    audioChunksPeak: totals.peaks.audioChunksCount,
    wsBufferedPeak: totals.peaks.wsBufferedAmount,
    eventQueuePeak: totals.peaks.eventQueueSize,
    heapPeak: totals.peaks.usedJSHeapSize,
    audioGapMs: max(totals.audioGapMs),
    longTaskShare: logs.session.durationMs >= RULES.sharesFromMs ? totals.longTaskMs / logs.session.durationMs : null,
    costShare: logs.cost.share,
  };
  for (const name of ["interruptions", "errors", "slowEvents", "responseTimeouts", "uncleanCloses"]) {
    figures[name] = totals[name];
  }
  for (const [name, rule] of Object.entries(RULES.growth.figures)) figures[name] = growth(samples, rule);
  return figures;
}

/** The issues of some logs, in the rules' order: what is wrong and what to do.
 * @param {any} logs @param {Record<string, any>} figures */
function issuesOf(logs, figures) {
  /** @param {string} name */
  const limit = (name) => logs.thresholds[name] ?? RULES.thresholds[name].value;
  const found = [];
  for (const issue of RULES.issues) {
    const over = typeof issue.over === "number" ? issue.over : limit(issue.over);
    const value = figures[issue.figure];
    if (value === null || !(value > over)) continue;
    const text = issue.text.replace(/\{(\w+)\}/g, (_, /** @type {string} */ name) => {
      if (name === "value") return written(issue.form, value);
      const named = name === "limit" ? String(issue.over) : name;
      return written(RULES.thresholds[named].form, limit(named));
    });
    found.push({ id: issue.id, text, recommendation: issue.recommendation });
  }
  return found;
}

/** The document's report, line for line.  @param {any} logs */
function reportOf(logs) {
  const figures = figuresOf(logs);
  const issues = issuesOf(logs, figures);
  /** @param {string[]} lines */
  const listed = (lines) => (lines.length ? lines.map((line) => `- ${line}`) : ["- None"]);
  return [
    "Performance Analysis Report",
    logs.session.ended,
    "",
    "Metrics:",
    ...RULES.metrics.map((row) => `- ${row.label}: ${written(row.form, figures[row.figure])}`),
    "",
    "Issues Detected:",
    ...listed(issues.map((issue) => issue.text)),
    "",
    "Recommendations:",
    ...listed(issues.map((issue) => issue.recommendation)),
  ].join("\n");
}
