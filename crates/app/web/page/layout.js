// Where the tiles of a call stand: boxes out of numbers, nothing of the document.

/** @typedef {{ x: number, y: number, width: number, height: number }} Box */
/** @typedef {{ width: number, height: number }} Area */

const GAP = 8;
/** A tile may be as tall or as wide as this before its picture loses too much at the edges. */
const TALLEST = 3 / 4;
const WIDEST = 16 / 9;

/**
 * Boxes for `count` equal tiles, as large as the area lets them be; a last row that is not full stands in the middle.
 * @param {Area} area @param {number} count @returns {Box[]}
 */
export function grid(area, count) {
  if (count <= 0) return [];
  // One alone may fill all there is.
  if (count === 1) return [{ x: 0, y: 0, ...area }];
  let best = { columns: 1, width: 0, height: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const size = within((area.width - GAP * (columns - 1)) / columns, (area.height - GAP * (rows - 1)) / rows);
    if (size.width * size.height > best.width * best.height) best = { columns, ...size };
  }
  const { columns, width, height } = best;
  const rows = Math.ceil(count / columns);
  const top = (area.height - rows * height - GAP * (rows - 1)) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = row === rows - 1 ? count - columns * row : columns;
    const left = (area.width - inRow * width - GAP * (inRow - 1)) / 2;
    return { x: left + (index % columns) * (width + GAP), y: top + row * (height + GAP), width, height };
  });
}

/**
 * One large box, and small ones for `others` beside it (in a wide area) or below it.
 * @param {Area} area @param {number} others @returns {{ main: Box, strip: Box[] }}
 */
export function focus(area, others) {
  if (others <= 0) return { main: { x: 0, y: 0, ...area }, strip: [] };
  const wide = area.width > 1.15 * area.height;
  // Along the strip and across it, so that both ways are one.
  const [along, across] = wide ? [area.height, area.width] : [area.width, area.height];
  const thick = clamp(0.19 * across, wide ? 120 : 76, wide ? 250 : 130);
  const ideal = wide ? thick / WIDEST : thick * (4 / 3);
  const long = Math.max(1, Math.min(ideal, (along - GAP * (others - 1)) / others));
  const start = (along - others * long - GAP * (others - 1)) / 2;
  const strip = Array.from({ length: others }, (_, index) => {
    const at = start + index * (long + GAP);
    return wide
      ? { x: area.width - thick, y: at, width: thick, height: long }
      : { x: at, y: area.height - thick, width: long, height: thick };
  });
  const left = across - thick - GAP;
  const main = wide ? { width: left, height: area.height } : { width: area.width, height: left };
  return { main: { x: 0, y: 0, ...main }, strip };
}

/** A small box in the corner, for one's own picture. @param {Area} area @returns {Box} */
export function corner(area) {
  const tall = area.height > area.width;
  const width = clamp(0.22 * area.width, tall ? 84 : 120, 230);
  const height = tall ? width / TALLEST : width * TALLEST;
  return { x: area.width - width - 12, y: area.height - height - 12, width, height };
}

/** The largest tile in a cell. @param {number} width @param {number} height */
function within(width, height) {
  return { width: Math.max(1, Math.min(width, height * WIDEST)), height: Math.max(1, Math.min(height, width / TALLEST)) };
}

/** @param {number} value @param {number} least @param {number} most */
function clamp(value, least, most) {
  return Math.min(most, Math.max(least, value));
}
