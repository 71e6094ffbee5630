// Live figures on a page without a kernel: runs the anywidget modules that cells have left behind.
//
// A cell writes <div class="vaebook-static" data-esm="ID"> with a .vaebook-slot (the text shown
// without JavaScript) and its state as JSON, and the module's source in
// <script type="text/plain" id="ID">. The module is the one that anywidget runs with a kernel.
// A large state lies in a script of its own (data-source), which stores it under data-key.
"use strict";
(function () {
  const modules = new Map();

  // Import each source once, also when several figures use it.
  function load(id) {
    if (!modules.has(id)) {
      const source = document.getElementById(id);
      if (!source) throw new Error(`no module with the id "${id}"`);
      const url = URL.createObjectURL(new Blob([source.textContent], { type: "text/javascript" }));
      modules.set(id, import(url).finally(() => URL.revokeObjectURL(url)));
    }
    return modules.get(id);
  }

  function readState(holder) {
    const { key, source } = holder.dataset;
    if (!source) return JSON.parse(holder.textContent);
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.onload = () => resolve(window.vaebookStates[key]);
      script.onerror = () => reject(new Error(`${source} did not load`));
      script.src = source;
      document.head.append(script);
    });
  }

  // The part of anywidget's model that a figure needs: a value changes, listeners hear of it.
  function createModel(state) {
    const listeners = new Map();
    const heard = (name) => [...(listeners.get(name) || [])];
    return {
      get: (key) => state[key],
      set(key, value) {
        if (Object.is(state[key], value)) return;
        state[key] = value;
        heard("change:" + key).concat(heard("change")).forEach((listener) => listener());
      },
      on(name, listener) {
        if (!listeners.has(name)) listeners.set(name, new Set());
        listeners.get(name).add(listener);
      },
      off(name, listener) {
        if (listener) listeners.get(name)?.delete(listener);
        else listeners.delete(name);
      },
      save_changes() {},
      send() {},
    };
  }

  async function start(figure) {
    const slot = figure.querySelector(".vaebook-slot");
    const fallback = [...slot.childNodes];
    try {
      const state = await readState(figure.querySelector('script[type="application/json"]'));
      const { default: widget } = await load(figure.dataset.esm);
      const model = createModel(state);
      slot.replaceChildren();
      if (widget.initialize) await widget.initialize({ model });
      await widget.render({ model, el: slot });
      figure.dataset.state = "live";
    } catch (error) {
      slot.replaceChildren(...fallback);
      figure.dataset.state = "failed";
      console.error("A live figure did not start:", error);
    }
  }

  // A figure whose state is large waits until it is less than a screen away.
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      start(target);
    }
  }, { rootMargin: "100%" });
  for (const figure of document.querySelectorAll(".vaebook-static")) {
    if (figure.querySelector("[data-source]")) near.observe(figure);
    else start(figure);
  }
})();
