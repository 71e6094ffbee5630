// Live figures on a page without a kernel: runs the anywidget modules that cells have left behind.
//
// A cell writes <div class="vaebook-static" data-figure="NAME"> with a .vaebook-slot (the text shown
// without JavaScript) and its state as JSON. The build puts the module's source into
// <script type="text/plain" id="esm-NAME">, and says on the figure where the script lies that all
// figures share (data-shared). A large state lies in a script of its own (data-source), which stores
// it under data-key. A figure starts when the reader comes near.
"use strict";
(function () {
  const scripts = new Map();
  const modules = new Map();

  // Run each script once, also when several figures use it.
  function loadScript(source) {
    if (!scripts.has(source)) {
      scripts.set(source, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.onload = resolve;
        script.onerror = () => reject(new Error(`${source} did not load`));
        script.src = source;
        document.head.append(script);
      }));
    }
    return scripts.get(source);
  }

  function loadModule(name) {
    if (!modules.has(name)) {
      const source = document.getElementById(`esm-${name}`);
      if (!source) throw new Error(`no module of the name "${name}"`);
      const url = URL.createObjectURL(new Blob([source.textContent], { type: "text/javascript" }));
      modules.set(name, import(url).finally(() => URL.revokeObjectURL(url)));
    }
    return modules.get(name);
  }

  async function readState(holder) {
    const { key, source } = holder.dataset;
    if (!source) return JSON.parse(holder.textContent);
    await loadScript(source);
    return window.vaebookStates[key];
  }

  // The part of anywidget's model that a figure needs: a value changes, listeners hear of it.
  function createModel(state) {
    const listeners = new Map();
    return {
      get: (key) => state[key],
      set(key, value) {
        if (Object.is(state[key], value)) return;
        state[key] = value;
        [...(listeners.get(`change:${key}`) ?? [])].forEach((listener) => listener());
      },
      on(name, listener) {
        if (!listeners.has(name)) listeners.set(name, new Set());
        listeners.get(name).add(listener);
      },
      off: (name, listener) => listeners.get(name)?.delete(listener),
      save_changes() {},
    };
  }

  async function start(figure) {
    const slot = figure.querySelector(".vaebook-slot");
    const fallback = [...slot.childNodes];
    try {
      const holder = figure.querySelector('script[type="application/json"]');
      const [state] = await Promise.all([readState(holder), loadScript(figure.dataset.shared)]);
      const { default: widget } = await loadModule(figure.dataset.figure);
      slot.replaceChildren();
      await widget.render({ model: createModel({ ...state }), el: slot });
      figure.dataset.state = "live";
    } catch (error) {
      slot.replaceChildren(...fallback);
      figure.dataset.state = "failed";
      console.error("A live figure did not start:", error);
    }
  }

  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      start(target);
    }
  }, { rootMargin: "100%" });
  for (const figure of document.querySelectorAll(".vaebook-static")) near.observe(figure);
})();
