'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const words = {
    signalling: 'signalling', stun: 'STUN', check: 'ICE checks', turn: 'TURN', dtls: 'DTLS', sctp: 'SCTP', stream: 'TCP and TLS', other: 'other',
  };
  const byId = (id) => document.getElementById(id);
  const text = (index) => data.strings[index];
  const ms = (micros) => (micros / 1000).toFixed(1) + ' ms';

  // Light and dark: as the system says, until somebody says otherwise.
  const wishes = matchMedia('(prefers-color-scheme: dark)');
  let dark = wishes.matches;
  const paint = () => document.documentElement.classList.toggle('dark', dark);
  wishes.addEventListener('change', () => { dark = wishes.matches; paint(); });
  byId('theme').addEventListener('click', () => { dark = !dark; paint(); });
  paint();

  // The matrix.
  const matrix = byId('matrix');
  const cells = [...matrix.querySelectorAll('.cell')];
  const width = Math.round(Math.sqrt(cells.length));
  matrix.classList.add(width > 6 ? 'many' : 'few');
  const focus = (cell) => {
    cells.forEach((other) => { other.tabIndex = other === cell ? 0 : -1; });
    cell.focus();
  };
  matrix.addEventListener('keydown', (event) => {
    const at = cells.indexOf(document.activeElement);
    const [row, column] = [Math.floor(at / width), at % width];
    const to = {
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
      Home: [row, 0], End: [row, width - 1],
    }[event.key];
    if (at < 0 || !to) return;
    event.preventDefault();
    if (to[0] >= 0 && to[0] < width && to[1] >= 0 && to[1] < width) focus(cells[to[0] * width + to[1]]);
  });
  cells.forEach((cell) => cell.addEventListener('click', () => open(Number(cell.dataset.run), true)));

  // A run.
  let current = -1;
  const hidden = new Set();
  let late = false;
  const name = (run) => `${run.a}/${run.b}`;

  function open(index, byHand) {
    const run = data.runs[index];
    if (!run) return;
    current = index;
    cells.forEach((cell, at) => (at === index ? cell.setAttribute('aria-current', 'true') : cell.removeAttribute('aria-current')));
    byId('run').hidden = false;
    byId('run-title').textContent = `${run.a} calls ${run.b}`;
    byId('result').textContent = run.result;
    byId('paths').textContent = run.of.join('\n');
    byId('tally').textContent = `${run.tally} The ladder is that of seed ${data.seed}.`;
    byId('more').textContent = run.more ? `… and ${run.more} more packets.` : '';
    filters(run);
    draw(run);
    if (byHand) {
      history.replaceState(null, '', '#' + name(run));
      byId('run-title').focus({ preventScroll: true });
      byId('run').scrollIntoView({ behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
    }
  }

  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && current >= 0) focus(cells[current]);
  });

  function filters(run) {
    const box = byId('filters');
    box.querySelectorAll('label').forEach((label) => label.remove());
    data.layers.forEach((layer, index) => {
      const count = run.steps.filter((step) => step[1] === index).length;
      if (!count) return;
      const dot = document.createElement('i');
      dot.style.background = `var(--${layer})`;
      choice(box, !hidden.has(index), [dot, `${words[layer]} (${count})`], (on) => {
        if (on) hidden.delete(index); else hidden.add(index);
        draw(run);
      });
    });
    const after = run.steps.filter((step) => step[0] > run.took).length;
    if (after) {
      choice(box, late, [`what came after the messages (${after})`], (on) => {
        late = on;
        draw(run);
      });
    }
  }

  function choice(box, on, content, change) {
    const label = document.createElement('label');
    const input = document.createElement('input');
    input.type = 'checkbox';
    input.checked = on;
    input.addEventListener('change', () => change(input.checked));
    label.append(input, ...content);
    box.append(label);
  }

  // The ladder.
  const SVG = 'http://www.w3.org/2000/svg';
  function make(parent, kind, attributes, content) {
    const element = document.createElementNS(SVG, kind);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (content !== undefined) element.textContent = content;
    parent.append(element);
    return element;
  }
  const GUTTER = 66;
  const HEAD = 62;
  const measure = document.createElement('canvas').getContext('2d');
  function long(content, font) {
    measure.font = font;
    return measure.measureText(content).width;
  }

  function draw(run) {
    const frame = byId('ladder');
    frame.replaceChildren();
    const gap = Math.max(186, Math.min(330, (frame.clientWidth - GUTTER - 170) / Math.max(1, run.lanes.length - 1)));
    const x = (lane) => GUTTER + 80 + lane * gap;
    const wide = x(run.lanes.length - 1) + 90;
    const steps = run.steps.filter((step) => !hidden.has(step[1]) && (late || step[0] <= run.took));
    const heights = steps.map((step) => (step[6].some((stop) => stop[1] === 0 || stop[1] === 3) ? 58 : step[5] === null ? 32 : 44));
    const high = HEAD + heights.reduce((sum, height) => sum + height, 0) + 50;
    const svg = make(frame, 'svg', { width: wide, height: high, viewBox: `0 0 ${wide} ${high}`, role: 'presentation' });
    run.lanes.forEach((lane, index) => {
      make(svg, 'line', { class: `lane ${lane[2]}`, x1: x(index), x2: x(index), y1: HEAD - 8, y2: high });
      const head = make(svg, 'g', { class: 'head' });
      const half = Math.min(88, gap / 2 - 6);
      make(head, 'rect', { x: x(index) - half, y: 4, width: half * 2, height: HEAD - 14, rx: 8 });
      make(head, 'text', { x: x(index), y: 25 }, lane[0]);
      make(head, 'text', { class: 'about', x: x(index), y: 42 }, lane[1]);
    });
    let y = HEAD;
    let marked = false;
    const mark = () => {
      marked = true;
      const words = run.face === 'failed' ? 'given up' : 'a message has passed each way';
      make(svg, 'line', { class: 'mark', x1: GUTTER + 6, x2: wide - 8, y1: y + 17, y2: y + 17 });
      make(svg, 'text', { class: 'time', x: GUTTER - 6, y: y + 21 }, ms(run.took));
      make(svg, 'text', { class: 'marked', x: (GUTTER + wide) / 2, y: y + 21 }, words);
      y += 34;
    };
    steps.forEach((step, index) => {
      if (!marked && step[0] > run.took) mark();
      row(svg, run, step, y, heights[index], x, wide);
      y += heights[index];
    });
    if (!marked) mark();
    const rows = [...svg.querySelectorAll('.row')];
    if (rows[0]) rows[0].setAttribute('tabindex', '0');
    byId('details').innerHTML = '<p class="quiet">Choose a step to see its whole way.</p>';
    svg.addEventListener('keydown', (event) => {
      const at = rows.indexOf(document.activeElement);
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
      if (at < 0 || to === undefined) return;
      event.preventDefault();
      if (rows[to]) rows[to].focus();
    });
    svg.addEventListener('focusin', (event) => choose(event.target.closest('.row')));
    svg.addEventListener('click', (event) => {
      const chosen = event.target.closest('.row');
      if (chosen) chosen.focus({ preventScroll: true });
    });
    rows.forEach((element, index) => { element.step = steps[index]; element.run = run; });
    function choose(element) {
      if (!element) return;
      rows.forEach((other) => {
        other.removeAttribute('aria-current');
        other.setAttribute('tabindex', other === element ? '0' : '-1');
      });
      element.setAttribute('aria-current', 'true');
      tell(element.run, element.step);
    }
  }

  function row(svg, run, step, top, height, x, wide) {
    const [at, layer, title, detail, from, path, stops] = step;
    const colour = `var(--${data.layers[layer]})`;
    const group = make(svg, 'g', { class: 'row', role: 'listitem', tabindex: '-1', 'aria-label': sentence(run, step) });
    make(group, 'rect', { class: 'back', x: 2, y: top + 1, width: wide - 4, height: height - 2, rx: 6 });
    const y = top + 22;
    make(group, 'text', { class: 'time', x: GUTTER - 6, y: y + 4 }, ms(at));
    const last = stops[stops.length - 1];
    const end = last ? last[0] : from;
    const right = x(end) >= x(from);
    const way = right ? 1 : -1;
    const lost = last && last[1] === 3;
    const tip = lost ? x(end) - way * 9 : x(end) - way * 2;
    // A packet that its own host or link loses has not come far.
    const short = lost && end === from;
    const direction = short ? (from < run.lanes.length / 2 ? 1 : -1) : way;
    const to = short ? x(from) + direction * 46 : tip;
    make(group, 'path', {
      class: 'wire', d: `M${x(from)} ${y}H${to}`, stroke: colour, 'stroke-dasharray': path === null ? '2 5' : lost ? '7 4' : 'none',
      'stroke-linecap': path === null ? 'round' : 'butt',
    });
    make(group, 'circle', { cx: x(from), cy: y, r: 3.5, fill: colour });
    if (lost) {
      const cx = short ? to + direction * 8 : x(end);
      make(group, 'path', { class: 'cross', d: `M${cx - 6} ${y - 6}l12 12m0 -12l-12 12` });
      const reason = text(last[2]);
      const room = direction > 0 ? wide - cx - 14 : cx - GUTTER - 14;
      if (long(reason, '600 12px sans-serif') < room) {
        make(group, 'text', { class: 'why', x: cx + direction * 12, y: y + 4, 'text-anchor': direction > 0 ? 'start' : 'end' }, reason);
      } else {
        make(group, 'text', { class: 'why', x: cx - direction * 10, y: y + 30, 'text-anchor': direction > 0 ? 'end' : 'start' }, reason);
      }
    } else {
      make(group, 'path', { d: `M${x(end)} ${y}l${-way * 10} -5v10z`, fill: colour });
    }
    // The title above the first stretch that is wide enough, else above the whole.
    const reach = Math.abs(to - x(from));
    const titled = make(group, 'text', { class: 'title', y: y - 7, fill: colour }, text(title));
    const full = long(text(title), '600 13px sans-serif');
    let note = text(detail);
    const noteRoom = Math.max(reach, 260) - full - 24;
    if (note && noteRoom > 40) {
      while (note && long(note, '11px sans-serif') > noteRoom) note = note.slice(0, -2).trimEnd();
      if (note !== text(detail) && note) note += '…';
      if (note) make(titled, 'tspan', { class: 'note', dx: 7 }, note);
    } else {
      note = '';
    }
    const half = (full + (note ? long(note, '11px sans-serif') + 7 : 0)) / 2;
    const middle = (x(from) + to) / 2;
    titled.setAttribute('x', Math.min(Math.max(middle, GUTTER + 4 + half), wide - half - 4));
    if (path === null) return;
    // Where it is going, beside its sender; and what each box made of it.
    let now = text(path).split('|');
    const far = now[1];
    const hasBox = stops.some((stop) => stop[1] === 0);
    if (!short) {
      make(group, 'text', { class: 'address', x: x(from) + way * 8, y: y + 14, style: `text-anchor:${way > 0 ? 'start' : 'end'}` }, (way > 0 ? '→ ' : '') + far + (way > 0 ? '' : ' ←'));
    }
    stops.forEach((stop) => {
      if (stop[1] === 0) {
        const after = text(stop[2]).split('|');
        const which = after[0] !== now[0] ? 0 : 1;
        make(group, 'circle', { cx: x(stop[0]), cy: y, r: 5, fill: 'var(--ground)', stroke: colour, 'stroke-width': 2 });
        const word = which === 0 ? 'from' : 'to';
        make(group, 'text', { class: 'address', x: x(stop[0]), y: y + (hasBox ? 18 : 14) }, `${word} ${now[which]}`);
        make(group, 'text', { class: 'address new', x: x(stop[0]), y: y + 31 }, `⇒ ${after[which]}`);
        now = after;
      } else if (stop[1] === 1) {
        make(group, 'circle', { cx: x(stop[0]), cy: y, r: 3, fill: colour });
      } else if (stop[1] === 4) {
        make(group, 'text', { class: 'why', x: x(stop[0]), y: y + 16 }, text(stop[2]));
      }
    });
  }

  const arrow = (path) => path.split('|').join(' → ');

  function sentence(run, step) {
    const [at, layer, title, detail, from, , stops] = step;
    const ends = stops.map((stop) => {
      const lane = run.lanes[stop[0]][0];
      return [`${lane} rewrites it to ${arrow(text(stop[2]))}`, `${lane} lets it pass`, `${lane} gets it`, `${lane} drops it: ${text(stop[2])}`, `${text(stop[2])} at ${lane}`][stop[1]];
    });
    return `${ms(at)}: ${run.lanes[from][0]} sends ${words[data.layers[layer]]} ${text(title)}${text(detail) ? ', ' + text(detail) : ''}. ${ends.join('; ')}.`;
  }

  function tell(run, step) {
    const [at, layer, title, detail, from, path, stops] = step;
    const box = byId('details');
    box.replaceChildren();
    const add = (parent, kind, content, type) => {
      const element = document.createElement(kind);
      if (content !== undefined) element.textContent = content;
      if (type) element.className = type;
      parent.append(element);
      return element;
    };
    const heading = add(box, 'h3', text(title));
    heading.style.color = `var(--${data.layers[layer]})`;
    add(box, 'p', words[data.layers[layer]], 'quiet');
    if (text(detail)) add(box, 'p', text(detail));
    const list = add(box, 'ol');
    const first = add(list, 'li');
    add(first, 'b', `${ms(at)} · ${run.lanes[from][0]} sends it`);
    if (path !== null) add(first, 'code', arrow(text(path)));
    let now = path === null ? '' : text(path);
    stops.forEach(([lane, what, more, when]) => {
      const item = add(list, 'li', undefined, what === 3 ? 'drop' : '');
      const who = run.lanes[lane][0];
      const deed = [`${who} rewrites it`, `${who} lets it pass`, `${who} gets it`, `${who} drops it`, `${text(more)} at ${who}`][what];
      add(item, 'b', `${ms(when)} · ${deed}`);
      if (what === 0) {
        const [old, fresh] = [now.split('|'), text(more).split('|')];
        const which = old[0] !== fresh[0] ? 0 : 1;
        add(item, 'code', `${which ? 'to' : 'from'} ${old[which]}`);
        add(item, 'code', `⇒ ${fresh[which]}`);
        now = text(more);
      }
      if (what === 3) add(item, 'p', text(more));
    });
  }

  function follow() {
    const wanted = decodeURIComponent(location.hash.slice(1));
    const index = data.runs.findIndex((run) => name(run) === wanted);
    if (index >= 0) open(index, false);
  }
  addEventListener('hashchange', follow);
  let resized;
  addEventListener('resize', () => {
    clearTimeout(resized);
    resized = setTimeout(() => { if (current >= 0) draw(data.runs[current]); }, 150);
  });
  follow();
})();
