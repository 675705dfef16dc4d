// The colours of charts on a light page and on a dark one.  `painter(colours)`, whose argument is COLOURS of embed.py, gives
// a function that paints a Bokeh document as the page is now, and its `changed(call)`: who is told when that changes.
function painter({swaps, heat}) {
  const dark = matchMedia("(prefers-color-scheme: dark)")
  const back = Object.fromEntries(Object.entries(swaps).map(([light, other]) => [other, light]))

  function paint(doc) {
    const table = dark.matches ? swaps : back
    for (const model of doc._all_models.values()) {
      if (model.name === "heat" && model.palette) model.palette = heat[dark.matches ? 1 : 0]
      for (const name of Object.keys(model.attributes ?? {})) {
        if (!name.endsWith("_color")) continue
        const value = model[name]
        const colour = typeof value === "string" ? value : value?.value
        const other = typeof colour === "string" ? table[colour.toUpperCase()] : undefined
        if (other !== undefined) model[name] = typeof value === "string" ? other : {...value, value: other}
      }
    }
  }
  paint.changed = (call) => dark.addEventListener("change", call)
  return paint
}
