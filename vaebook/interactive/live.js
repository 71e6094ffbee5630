// What live figures share. A figure is a module beside this file: its mathematics as exported
// functions, and `export default figure({...})`, which says what it shows and what may be moved:
//
//   view(state)       what the panels draw, computed once from the state
//   panels            a list of {plot | pictures | mount}, see below
//   controls          a list of {slider | choice | toggle | button | play}, see below, or a
//                     function of the first state that returns one
//   numbers(state, view)   rows of a table, each a list of texts; the first is its heading
//   describe(state, view)  a sentence that says what is seen, shown and read out
//
// The state has the entries that the Python function gave. What a control returns are changes of
// entries. The same module runs in a page, without a kernel, and in a notebook, as an anywidget.
"use strict";
globalThis.vaebookLive = (() => {
  const Plot = vaebookPlot; // defined by vendor/plot.min.js, which stands before this file
  const HUES = ["ink", "paper", "rule", "blue", "vermilion", "teal", "gold", "plum", "slate"];
  const colour = Object.fromEntries(HUES.map((hue) => [hue, `var(--live-${hue})`]));
  const isStill = matchMedia("(prefers-reduced-motion: reduce)");

  // ---- small mathematics that several figures need ----

  /** Numbers from first to last, both included. */
  const linspace = (first, last, n) =>
    Array.from({ length: n }, (_, i) => first + ((last - first) * i) / (n - 1));

  /** Log-density of a normal distribution. */
  const logNormal = (x, mean = 0, std = 1) =>
    -0.5 * ((x - mean) / std) ** 2 - Math.log(std) - 0.5 * Math.log(2 * Math.PI);

  /** Density of a normal distribution. */
  const normal = (x, mean = 0, std = 1) => Math.exp(logNormal(x, mean, std));

  /** log(sum(exp(values))), without overflow. */
  function logSumExp(values) {
    const most = Math.max(...values);
    if (!Number.isFinite(most)) return most;
    return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
  }

  /** A function of one object that computes its value for each object once. */
  function once(f) {
    const known = new WeakMap();
    return (key) => {
      if (!known.has(key)) known.set(key, f(key));
      return known.get(key);
    };
  }

  /** A function that keeps its last value, for as long as it is asked with the same arguments. */
  function latest(f) {
    let known = null, value;
    return (...asked) => {
      if (!known || asked.some((argument, i) => !Object.is(argument, known[i])))
        [known, value] = [asked, f(...asked)];
      return value;
    };
  }

  /** A generator of random numbers (mulberry32): the same seed gives the same numbers. */
  function random(seed) {
    let s = seed >>> 0;
    const uniform = () => {
      s = (s + 0x6d2b79f5) | 0;
      let t = Math.imul(s ^ (s >>> 15), 1 | s);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    // Box and Muller; 1 - u lies in (0, 1].
    const gaussian = () =>
      Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    return { uniform, gaussian };
  }

  // ---- arrays and networks, packed by vaebook.interactive.weights ----

  const TYPES = { int8: Int8Array, uint8: Uint8Array, float32: Float32Array };

  /** The typed array of what `pack` has packed; its rows lie one behind the other. */
  const array = once(({ type, data }) => {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    return new TYPES[type](bytes.buffer);
  });

  /** The rows of what `pack` has packed, one typed array each. */
  const rows = once((packed) => {
    const all = array(packed), n = packed.width;
    return Array.from({ length: all.length / n }, (_, i) => all.subarray(i * n, (i + 1) * n));
  });

  const ACTIVATIONS = {
    identity: (x) => x,
    relu: (x) => Math.max(0, x),
    sigmoid: (x) => 1 / (1 + Math.exp(-x)),
    silu: (x) => x / (1 + Math.exp(-x)),
    tanh: Math.tanh,
  };

  /** The function that a list of quantised linear layers computes, from an array to an array. */
  function network(layers) {
    const read = layers.map(({ weight, scale, bias, activation }) => ({
      weight: array(weight), scale: array(scale), bias: array(bias), f: ACTIVATIONS[activation],
    }));
    return (input) => read.reduce((values, { weight, scale, bias, f }) => {
      const n = values.length;
      return Float64Array.from(bias, (b, i) => {
        let sum = 0;
        for (let j = 0, at = i * n; j < n; j++) sum += weight[at + j] * values[j];
        return f(b + scale[i] * sum);
      });
    }, Float64Array.from(input));
  }

  // ---- elements ----

  const SVG = ["svg", "circle", "polygon", "line"];

  function make(tag, parent, attributes = {}, text = "") {
    const node = SVG.includes(tag)
      ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.textContent = text;
    parent?.append(node);
    return node;
  }

  /** A number as a reader expects it, with a true minus sign. */
  const format = (x, digits = 2) => {
    const text = x.toFixed(digits);
    return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "\u2212");
  };

  /** A number of nats, with its unit. */
  const nats = (value, digits = 3) => `${format(value, digits)} nats`;

  const clamp = (x, [first, last]) =>
    Math.min(Math.max(first, last), Math.max(Math.min(first, last), x));

  let ids = 0;
  const nextId = () => `vaebook-control-${ids++}`;

  // ---- controls: each returns what shows the state again ----

  // {slider: entry, label, min, max, step, format} or, for listed values, {slider, label, values}.
  // With get(state) and set(state, value) it moves a part of an entry.
  function slider(control, parent, figure) {
    const { slider: entry, label: text, values, format: say = format } = control;
    const { get = (state) => state[entry], set = (_, value) => ({ [entry]: value }) } = control;
    const [min, max] = values ? [0, values.length - 1] : [control.min, control.max];
    const box = make("div", parent, { class: "vaebook-slider" });
    const id = nextId();
    make("label", box, { for: id }, text);
    const step = values ? 1 : control.step ?? 0.01;
    const input = make("input", box, { id, type: "range", min, max, step });
    const output = make("span", box, { class: "vaebook-value", "aria-hidden": "true" });
    input.addEventListener("input", () => {
      const at = Number(input.value);
      figure.change(set(figure.state, values ? values[at] : at));
    });
    return (state) => {
      const value = get(state);
      input.value = values ? values.indexOf(value) : value;
      output.textContent = say(value);
      input.setAttribute("aria-valuetext", output.textContent);
    };
  }

  // {choice: entry, label, options: [[value, text], ...]}
  function choice({ choice: entry, label, options, set }, parent, figure) {
    const group = make("fieldset", parent, { class: "vaebook-choice" });
    make("legend", group, {}, label);
    const name = nextId();
    const inputs = options.map(([value, text]) => {
      const option = make("label", group);
      const input = make("input", option, { type: "radio", name });
      make("span", option, {}, text);
      input.addEventListener("change", () =>
        figure.change(set?.(figure.state, value) ?? { [entry]: value }));
      return [input, value];
    });
    return (state) => inputs.forEach(([input, value]) => (input.checked = state[entry] === value));
  }

  // {toggle: entry, label}
  function toggle({ toggle: entry, label: text }, parent, figure) {
    const label = make("label", parent, { class: "vaebook-toggle" });
    const input = make("input", label, { type: "checkbox" });
    make("span", label, {}, text);
    input.addEventListener("change", () => figure.change({ [entry]: input.checked }));
    return (state) => (input.checked = state[entry]);
  }

  // {button: text, press(state, view)}; off(state) says when it has nothing to do
  function button({ button: text, press, off }, parent, figure) {
    const node = make("button", buttonRow(parent), { type: "button" }, text);
    node.addEventListener("click", () => figure.change(press(figure.state, figure.view)));
    return (state) => off && setOff(node, off(state));
  }

  // {play: text, advance(state, view), every, step}: advance returns null at the end. "Play" goes
  // there by itself, or at once for readers who want no motion; "Step" goes one step.
  function play({ play: text, advance, every = 40, step: stepText = "Step" }, parent, figure) {
    const row = buttonRow(parent);
    const start = make("button", row, { type: "button" }, text);
    const once = stepText && make("button", row, { type: "button" }, stepText);
    let timer = null;
    const show = () => (start.textContent = timer === null ? text : "Pause");
    const stop = () => {
      clearTimeout(timer);
      timer = null;
      figure.setMoving(false);
      show();
    };
    const step = () => {
      const changes = figure.root.isConnected ? advance(figure.state, figure.view) : null;
      if (changes) figure.change(changes);
      return changes !== null;
    };
    const go = () => {
      if (step()) timer = setTimeout(go, every);
      else stop();
    };
    start.addEventListener("click", () => {
      if (timer !== null) stop();
      else if (isStill.matches) while (step());
      else {
        figure.setMoving(true);
        go();
        show();
      }
    });
    if (once) once.addEventListener("click", () => {
      stop();
      step();
    });
    figure.onReset(stop);
    return show;
  }

  const setOff = (node, off) => node.setAttribute("aria-disabled", String(Boolean(off)));

  // Buttons that follow each other stand in one row.
  function buttonRow(parent) {
    const last = parent.lastElementChild;
    if (last?.classList.contains("vaebook-buttons")) return last;
    return make("div", parent, { class: "vaebook-buttons" });
  }

  const CONTROLS = { slider, choice, toggle, button, play };

  function control(options, parent, figure) {
    const kind = Object.keys(CONTROLS).find((name) => name in options);
    return CONTROLS[kind](options, parent, figure);
  }

  // ---- panels: each returns what shows the state again ----

  // {plot(state, view): options of Plot.plot, label(state, view), height, handles, press, legend,
  //  depends}
  //
  // `label` is the plot's alternative text. `depends` lists the entries of the state on which the
  // plot depends, if not on all: others then move the handles and nothing else. `handles` is a
  // list, or a function of the state that returns one, of {label, x(state), y(state),
  // move(state, x, y), text(state), colour}: points to drag, or to move by the arrow keys. Without x
  // or y a handle moves along the other axis only. `press` receives the place of a click; offer the
  // same by a control, for the keyboard. `legend` is a list of [text, colour, dashes or "dot" or
  // "triangle", width, opacity].
  function plotPanel(panel, parent, figure) {
    const box = make("div", parent, { class: "vaebook-panel" });
    if (panel.wide) box.classList.add("vaebook-wide");
    if (panel.title) make("div", box, { class: "vaebook-title" }, panel.title);
    if (panel.legend) legend(panel.legend, box);
    const frame = make("div", box, { class: "vaebook-frame" });
    const picture = make("div", frame);
    const handles = [];
    let chart, drawn;
    const place = (event) => {
      const { left, top, width, height } = chart.getBoundingClientRect();
      const [w, h] = ["width", "height"].map((name) => Number(chart.getAttribute(name)));
      const x = chart.scale("x"), y = chart.scale("y");
      return [
        clamp(x.invert(((event.clientX - left) / width) * w), x.domain),
        clamp(y.invert(((event.clientY - top) / height) * h), y.domain),
      ];
    };
    if (panel.press) {
      picture.classList.add("vaebook-press");
      picture.addEventListener("click", (event) =>
        figure.change(panel.press(figure.state, ...place(event))));
    }
    const moved = (index, x, y) =>
      figure.change(handlesOf(panel, figure)[index].move(figure.state, x, y, figure.view));
    const redraw = (state, view, width) => {
      const given = typeof panel.height === "function" ? panel.height(width) : panel.height;
      // below: room for the axis's name under the numbers
      const room = { width, height: given ?? 240, marginBottom: 40 };
      const options = { ...room, ...panel.plot(state, view, width) };
      chart = Plot.plot({ ...options, style: { fontSize: "13px", ...options.style } });
      chart.setAttribute("role", "img");
      // The plot's one label says what is seen; those of its marks would name their kinds.
      for (const mark of chart.querySelectorAll("[aria-label]")) {
        mark.dataset.mark = mark.getAttribute("aria-label");
        mark.removeAttribute("aria-label");
      }
      picture.replaceChildren(chart);
    };
    return (state, view) => {
      const width = Math.max(200, box.clientWidth);
      const now = [width, ...(panel.depends ?? Object.keys(state)).map((name) => state[name])];
      if (!drawn?.every((value, i) => Object.is(value, now[i]))) redraw(state, view, width);
      drawn = now;
      chart.setAttribute("aria-label", panel.label(state, view));
      const wanted = handlesOf(panel, figure);
      while (handles.length > wanted.length) handles.pop().node.remove();
      wanted.forEach((handle, index) => {
        handles[index] ??= makeHandle(frame, index, place, moved, figure);
        handles[index].show(handle, chart, state, view);
      });
    };
  }

  const handlesOf = ({ handles = [] }, { state, view }) =>
    typeof handles === "function" ? handles(state, view) : handles;

  const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };

  function makeHandle(frame, index, place, moved, figure) {
    const node = make("div", frame, { class: "vaebook-handle", role: "slider", tabindex: 0 });
    let handle, ends;
    // Where the handle is now, also between two drawings.
    const position = () => [handle.x, handle.y].map((f, axis) =>
      f ? f(figure.state, figure.view) : (ends[axis][0] + ends[axis][1]) / 2);
    node.addEventListener("pointerdown", (event) => {
      node.setPointerCapture(event.pointerId);
      node.focus({ preventScroll: true });
      event.preventDefault();
    });
    node.addEventListener("pointermove", (event) => {
      if (node.hasPointerCapture(event.pointerId)) moved(index, ...place(event));
    });
    node.addEventListener("keydown", (event) => {
      const way = WAYS[event.key];
      if (!way) return;
      event.preventDefault();
      const share = event.shiftKey ? 0.1 : 0.01;
      const to = position().map((value, axis) => {
        const [first, last] = ends[axis];
        return clamp(value + way[axis] * share * Math.abs(last - first), ends[axis]);
      });
      moved(index, ...to);
    });
    const show = (current, chart, state, view) => {
      handle = current;
      const scales = [chart.scale("x"), chart.scale("y")];
      ends = scales.map(({ domain }) => [Math.min(...domain), Math.max(...domain)]);
      const at = position();
      const size = ["width", "height"].map((name) => Number(chart.getAttribute(name)));
      const [left, top] = at.map((value, axis) =>
        (100 * scales[axis].apply(clamp(value, ends[axis]))) / size[axis]);
      node.style.left = `${left}%`;
      node.style.top = `${top}%`;
      node.style.setProperty("--handle", handle.colour ?? colour.vermilion);
      const along = handle.x ? 0 : 1;
      const said = [handle.x && `x ${format(at[0])}`, handle.y && `y ${format(at[1])}`];
      const attributes = {
        "aria-label": handle.label,
        "aria-orientation": along ? "vertical" : "horizontal",
        "aria-valuemin": ends[along][0],
        "aria-valuemax": ends[along][1],
        "aria-valuenow": at[along],
        "aria-valuetext": handle.text?.(state, view) ?? said.filter(Boolean).join(", "),
        "data-way": handle.x && handle.y ? "both" : along ? "y" : "x",
      };
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    };
    return { node, show };
  }

  // A normal density q that the reader moves, with the entries `mean` and `log_std` of the state: a
  // handle on its summit, where the plot shows floor + scale * density, and sliders that do the
  // same. `means` and `logStds` are the ends of the ranges.
  function movableNormal({ means, logStds, scale = 1, floor = 0 }) {
    return {
      handle: {
        label: "Summit of q: its mean and, by its height, its standard deviation",
        x: ({ mean }) => mean,
        y: ({ log_std }) => floor + scale * normal(0, 0, Math.exp(log_std)),
        move: (_, mean, y) => ({
          mean: clamp(mean, means),
          log_std: clamp(Math.log(normal(0) / Math.max((y - floor) / scale, 1e-3)), logStds),
        }),
        text: ({ mean, log_std }) =>
          `mean ${format(mean)}, standard deviation ${format(Math.exp(log_std))}`,
      },
      sliders: [
        { slider: "mean", label: "mean of q", min: means[0], max: means[1] },
        { slider: "log_std", label: "log of q's standard deviation", min: logStds[0], max: logStds[1] },
      ],
    };
  }

  // A code of two numbers that the reader moves, with the entries `z` and `extent` of the state: a
  // plane of codes, from -extent to extent, with a handle at z, and a slider for each number.
  // `plane` is what else the plot has: its marks on the frame, its label, the entries it depends on.
  function movableCode({ marks, text, ...plane }) {
    const move = ({ extent }, x, y) => ({ z: [x, y].map((v) => clamp(v, [-extent, extent])) });
    const names = ["z₁", "z₂"];
    return {
      plane: {
        ...plane,
        height: (width) => width,
        plot: (state, view) => {
          const [x, y] = names.map((label) =>
            ({ domain: [-state.extent, state.extent], label, ticks: 5 }));
          return { x, y, marks: [Plot.frame({ stroke: colour.rule }), ...marks(state, view)] };
        },
        press: move,
        handles: [{ label: "Code z", x: ({ z }) => z[0], y: ({ z }) => z[1], move, text }],
      },
      sliders: ({ extent }) => names.map((label, axis) => ({
        slider: "z",
        label,
        min: -extent,
        max: extent,
        get: ({ z }) => z[axis],
        set: ({ z }, value) => ({ z: z.map((v, i) => (i === axis ? value : v)) }),
      })),
    };
  }

  /** A code as a reader expects it. */
  const codeAt = (z) => `z = (${format(z[0])}, ${format(z[1])})`;

  function legend(entries, parent) {
    const list = make("div", parent, { class: "vaebook-legend" });
    for (const [text, stroke, dashes = "", width = 2.2, opacity = 1] of entries) {
      const item = make("span", list);
      const sample = make("svg", item, { viewBox: "0 0 28 8", "aria-hidden": "true", opacity });
      if (dashes === "dot") make("circle", sample, { cx: 14, cy: 4, r: 4, style: `fill: ${stroke}` });
      else if (dashes === "triangle")
        make("polygon", sample, { points: "14,0 18.6,8 9.4,8", style: `fill: ${stroke}` });
      else make("line", sample, { x1: 0, x2: 28, y1: 4, y2: 4, "stroke-width": width,
        "stroke-dasharray": dashes, style: `stroke: ${stroke}` });
      item.append(text);
    }
  }

  // {pictures(state, view): [{pixels, width, label, text}], press(state, index), chosen(state)}
  //
  // Pixels are in [0, 1], or bytes; the height follows. With `press` each picture is a button.
  function picturePanel(panel, parent, figure) {
    const box = make("div", parent, { class: "vaebook-panel" });
    if (panel.wide) box.classList.add("vaebook-wide");
    if (panel.title) make("div", box, { class: "vaebook-title" }, panel.title);
    const list = make("div", box, { class: "vaebook-pictures" });
    if (panel.size) list.style.setProperty("--size", panel.size);
    const nodes = [];
    const add = (index) => {
      const node = make(panel.press ? "button" : "div", list, panel.press ? { type: "button" } : {});
      if (panel.press)
        node.addEventListener("click", () => figure.change(panel.press(figure.state, index)));
      const canvas = make("canvas", node, { role: "img" });
      return { node, canvas, text: make("span", node, { "aria-hidden": "true" }) };
    };
    return (state, view) => {
      const pictures = panel.pictures(state, view);
      while (nodes.length > pictures.length) nodes.pop().node.remove();
      pictures.forEach((picture, index) => {
        const { node, canvas, text } = (nodes[index] ??= add(index));
        drawPicture(canvas, picture);
        canvas.setAttribute("aria-label", picture.label);
        text.textContent = picture.text ?? "";
        if (panel.chosen) node.setAttribute("aria-pressed", String(panel.chosen(state) === index));
      });
    };
  }

  /** Draw as ink on nothing: dark on a light page, light on a dark one. */
  function drawPicture(canvas, { pixels, width }) {
    const height = pixels.length / width;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const ink = getComputedStyle(canvas).color.match(/[\d.]+/g).map(Number);
    const full = pixels instanceof Uint8Array ? 1 : 255;
    const g = canvas.getContext("2d");
    const image = g.createImageData(width, height);
    pixels.forEach((p, i) => image.data.set([ink[0], ink[1], ink[2], full * p], 4 * i));
    g.putImageData(image, 0, 0);
  }

  // {mount(element, figure)}: anything else; returns what shows the state again
  const PANELS = {
    plot: plotPanel,
    pictures: picturePanel,
    mount: (panel, parent, figure) =>
      panel.mount(make("div", parent, { class: "vaebook-panel" }), figure),
  };

  function mountPanel(panel, parent, figure) {
    const kind = Object.keys(PANELS).find((name) => name in panel);
    return PANELS[kind](panel, parent, figure);
  }

  // ---- numbers ----

  function table(parent) {
    const body = make("tbody", make("table", parent, { class: "vaebook-numbers" }));
    return (rows) => {
      const shape = rows.map((row) => row.length).join();
      if (body.dataset.shape !== shape) {
        body.replaceChildren();
        for (const row of rows) {
          const line = make("tr", body);
          row.forEach((_, i) => make(i ? "td" : "th", line, i ? {} : { scope: "row" }));
        }
        body.dataset.shape = shape;
      }
      rows.forEach((row, r) =>
        row.forEach((text, c) => (body.rows[r].cells[c].textContent = text)));
    };
  }

  // ---- the figure ----

  function figure({ panels, controls = [], view = () => ({}), numbers, describe }) {
    const render = ({ model, el }) => {
      const entries = model.get("entries");
      const read = () => Object.fromEntries(entries.map((name) => [name, model.get(name)]));
      const first = read();
      const resets = [];
      let frame = null;
      let seen = null;
      const self = {
        root: make("div", el, { class: "vaebook-live" }),
        state: first,
        get view() {
          return (seen ??= view(self.state));
        },
        change(changes) {
          if (!changes) return;
          for (const [name, value] of Object.entries(changes)) model.set(name, value);
          model.save_changes();
        },
        onReset: (listener) => resets.push(listener),
        setMoving(moving) {
          said?.setAttribute("aria-live", moving ? "off" : "polite");
        },
      };
      const shown = [];
      const space = make("div", self.root, { class: "vaebook-panels" });
      for (const panel of panels) shown.push(mountPanel(panel, space, self));
      const place = make("div", self.root, { class: "vaebook-controls" });
      const wanted = typeof controls === "function" ? controls(first) : controls;
      for (const options of wanted) shown.push(control(options, place, self));
      const reset = make("button", buttonRow(place), { type: "button" }, "Reset");
      reset.addEventListener("click", () => {
        resets.forEach((listener) => listener());
        self.change(first);
      });
      const fill = numbers && table(self.root);
      const said = describe && make("output", self.root, { "aria-live": "polite" });
      const draw = () => {
        frame = null;
        shown.forEach((show) => show(self.state, self.view));
        fill?.(numbers(self.state, self.view));
        if (said) said.textContent = describe(self.state, self.view);
      };
      // Several changes at once are drawn once, with the next frame.
      const drawSoon = () => (frame ??= requestAnimationFrame(draw));
      const follow = () => {
        self.state = read();
        seen = null;
        drawSoon();
      };
      entries.forEach((name) => model.on(`change:${name}`, follow));
      document.addEventListener("vaebook:theme", drawSoon);
      let width = 0;
      const resized = new ResizeObserver(() => {
        if (self.root.clientWidth === width) return;
        width = self.root.clientWidth;
        drawSoon();
      });
      draw();
      resized.observe(self.root);
      return () => {
        resets.forEach((listener) => listener());
        resized.disconnect();
        cancelAnimationFrame(frame);
        entries.forEach((name) => model.off(`change:${name}`, follow));
        document.removeEventListener("vaebook:theme", drawSoon);
      };
    };
    return { render };
  }

  /** A single word that readers see: by this mark the tool for translators finds it. */
  const word = (text) => text;

  /** A list in a sentence. */
  const list = (texts) => texts.join(word(", "));

  return { Plot, array, clamp, codeAt, colour, drawPicture, figure, format, latest, linspace, list,
    logNormal, logSumExp, make, movableCode, movableNormal, nats, network, normal, once, random, rows,
    word };
})();
