"""What is wrong with a chart that a browser drew, as functions of JavaScript."""

# Pairs of texts of one chart that lie on each other by more than three pixels each way.
CLASHES = """(place) => {
  const texts = [...place.querySelectorAll("text")].filter((one) =>
    one.textContent.trim() && getComputedStyle(one).opacity !== "0" && !one.closest(".hoverlayer"));
  const boxes = texts.map((one) => [one.textContent, one.getBoundingClientRect()]);
  const found = [];
  boxes.forEach(([text, a], n) => boxes.slice(n + 1).forEach(([other, b]) => {
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 3 && high > 3) found.push(`${text} on ${other}`);
  }));
  return found;
}"""

# Texts of a chart that its drawing cuts off.
CUTS = """(place) => {
  const whole = place.querySelector(".main-svg").getBoundingClientRect();
  return [...place.querySelectorAll("text")].filter((one) => {
    const box = one.getBoundingClientRect();
    return one.textContent.trim() && box.width && !one.closest(".hoverlayer") &&
      (box.left < whole.left - 1 || box.right > whole.right + 1 || box.top < whole.top - 1 ||
       box.bottom > whole.bottom + 1);
  }).map((one) => one.textContent);
}"""
