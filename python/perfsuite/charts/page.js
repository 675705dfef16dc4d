// Draws the charts of a page one after another, those in view first, in the page's colours (see paint.js); moves them by
// keys and buttons.  Bokeh is in script#bokeh and the data in script#charts (see embed.py), a line for each document, all of
// it gzipped and in base64; a chart goes into its [data-chart].
(() => {
  "use strict"
  const place = document.getElementById("charts")
  if (place === null) return
  const {where, colours} = JSON.parse(place.dataset.about)
  const documents = place.textContent.trim().split(/\s+/)
  const paint = painter(colours)
  const opened = []
  const drawn = new Map()

  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0))
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text()
  }
  let library = null
  async function load() {
    const script = document.createElement("script")
    script.textContent = await unpacked(document.getElementById("bokeh").textContent.trim())
    document.head.append(script)
  }

  // A document is read without its roots: each is put back when its chart is drawn, and goes into the element of its turn.
  async function open(i) {
    await (library ??= load())
    const text = await unpacked(documents[i])
    documents[i] = null
    const doc = Bokeh.require("document").Document.from_json(JSON.parse(text))
    const roots = new Map(doc.roots().map((root) => [root.id, root]))
    for (const root of roots.values()) doc.remove_root(root)
    const elements = []
    await Bokeh.embed.add_document_standalone(doc, document.body, elements)
    return {doc, roots, elements}
  }

  const turn = []
  let busy = false
  async function draw(element) {
    const id = element.dataset.chart
    if (drawn.has(id)) return
    drawn.set(id, null)
    const one = await (opened[where[id]] ??= open(where[id]))
    const root = one.roots.get(id)
    one.elements.push(element)
    one.doc.add_root(root)
    paint(one.doc)
    drawn.set(id, root)
    element.dataset.drawn = ""
    if (performance.getEntriesByName("perfsuite-first-chart").length === 0) performance.mark("perfsuite-first-chart")
  }
  async function next() {
    if (busy) return
    busy = true
    try {
      for (let element = turn.shift(); element !== undefined; element = turn.shift()) {
        await draw(element)
        await new Promise((resume) => setTimeout(resume))
      }
      document.documentElement.dataset.charts = "drawn"
    } finally {
      busy = false
    }
  }

  const ranges = (plot) => [plot.x_range, plot.y_range]
  function reset(plot) {
    for (const range of ranges(plot)) range.reset()
  }
  function move({x_range: range, x_scale: scale}, by, zoom) {
    const {start, end} = range
    if (!Number.isFinite(start) || !Number.isFinite(end)) return
    const log = scale.type === "LogScale"
    const [a, b] = log ? [Math.log(start), Math.log(end)] : [start, end]
    const half = ((b - a) / 2) * zoom
    const middle = (a + b) / 2 + by * (b - a)
    const [low, high] = [middle - half, middle + half]
    range.setv(log ? {start: Math.exp(low), end: Math.exp(high)} : {start: low, end: high})
  }
  const KEYS = {ArrowLeft: [-0.1, 1], ArrowRight: [0.1, 1], "+": [0, 0.8], "=": [0, 0.8], "-": [0, 1.25]}
  function pressed(event) {
    const plot = drawn.get(event.currentTarget.dataset.chart)
    if (!plot || event.ctrlKey || event.metaKey || event.altKey) return
    if (event.key === "0" || event.key === "Home") reset(plot)
    else if (event.key in KEYS) move(plot, ...KEYS[event.key])
    else return
    event.preventDefault()
  }

  function start() {
    const elements = [...document.querySelectorAll("[data-chart]")]
    for (const element of elements) {
      element.addEventListener("keydown", pressed)
      element.addEventListener("dblclick", () => drawn.get(element.dataset.chart) && reset(drawn.get(element.dataset.chart)))
      const button = document.querySelector(`[data-reset="${element.dataset.chart}"]`)
      button?.addEventListener("click", () => drawn.get(element.dataset.chart) && reset(drawn.get(element.dataset.chart)))
    }
    turn.push(...elements)
    const seen = new IntersectionObserver((entries) => {
      const inView = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target)
      const waiting = inView.filter((element) => turn.includes(element))
      turn.unshift(...waiting.map((element) => turn.splice(turn.indexOf(element), 1)[0]))
      for (const element of inView) seen.unobserve(element)
      void next()
    })
    elements.forEach((element) => seen.observe(element))
    paint.changed(async () => {
      for (const one of opened) if (one !== undefined) paint((await one).doc)
    })
  }
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", start)
  else start()
})()
