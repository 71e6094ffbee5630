// What the theme leaves open: scrolling by keyboard, previews that close, printing, offline search.
"use strict";
(function () {
  // A box that scrolls sideways must be reachable by keyboard, and one that does not must not.
  const scrollers =
    "article pre, article .katex-display, article .pst-scrollable-table-container, " +
    "article .cell_output .text_html";

  // Fade the edge behind which there is more.
  function markMore(box) {
    box.toggleAttribute("data-vb-more",
      box.dataset.vbScroll !== undefined && box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
  }

  function markScrollers() {
    for (const box of document.querySelectorAll(scrollers)) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 &&
        getComputedStyle(box).overflowX !== "visible";
      if (scrolls && !box.hasAttribute("data-vb-scroll")) {
        box.dataset.vbScroll = "";
        box.tabIndex = 0;
        box.addEventListener("scroll", () => markMore(box), { passive: true });
      } else if (!scrolls && box.hasAttribute("data-vb-scroll")) {
        delete box.dataset.vbScroll;
        box.removeAttribute("tabindex");
      }
      markMore(box);
    }
  }

  let pending;
  const markSoon = () => {
    clearTimeout(pending);
    pending = setTimeout(markScrollers, 60);
  };
  window.addEventListener("resize", markSoon);
  document.addEventListener("toggle", markSoon, true);
  document.addEventListener("click", markSoon);
  window.addEventListener("load", markScrollers);

  // A preview closes with Escape, wherever the focus is.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && window.tippy) window.tippy.hideAll();
  });

  // A picture opens as large as the window, and so large that its labels can be read: on a phone it
  // is then wider than the screen. Its button is for the keyboard; a click on the picture does, too.
  const LEGIBLE = 1.3; // times the size that it was drawn for
  const words = document.getElementById("vb-enlarge").dataset;
  function enlarge(figure, name) {
    const dialog = document.createElement("dialog");
    const close = document.createElement("button");
    const picture = figure.querySelector("img").cloneNode();
    const fitted = Math.min(innerWidth / picture.width, innerHeight / picture.height);
    picture.style.width = `${Math.round(Math.max(fitted * 0.96, LEGIBLE) * picture.width)}px`;
    dialog.className = "vb-enlarged";
    dialog.ariaLabel = name;
    close.ariaLabel = words.close;
    dialog.append(close, picture);
    dialog.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    figure.append(dialog);
    dialog.showModal();
  }
  for (const figure of document.querySelectorAll("article figure:has(> img)")) {
    const number = figure.querySelector(".caption-number")?.textContent.trim() ?? "";
    const button = document.createElement("button");
    button.className = "vb-enlarge";
    button.ariaLabel = `${words.enlarge} ${number}`.trim();
    figure.append(button);
    for (const opener of [button, figure.querySelector("img")])
      opener.addEventListener("click", () => enlarge(figure, number));
  }

  // Live figures draw with the page's colours, so they must know when those change.
  new MutationObserver(() => document.dispatchEvent(new CustomEvent("vaebook:theme"))).observe(
    document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });

  // The same section in the other language, or the same question on the page of the search. A
  // browser scrolls when it moves the focus to the link, which is not the reader's scrolling.
  const language = document.querySelector(".vb-language");
  const sections = [...document.querySelectorAll("article section[id]")];
  let place = location.hash;
  const notePlace = () => {
    if (document.activeElement === language) return;
    const before = sections.filter((one) => one.getBoundingClientRect().top < innerHeight / 3);
    place = scrollY > 0 && before.length ? `#${before.at(-1).id}` : "";
  };
  if (language) {
    window.addEventListener("scrollend", notePlace);
    for (const event of ["pointerdown", "focus", "click"])
      language.addEventListener(event, () => {
        const [page] = language.getAttribute("href").split(/[?#]/);
        language.setAttribute("href", page + location.search + place);
      });
  }

  // On paper nothing can be opened: open everything first, and close it again afterwards.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("article details:not([open])")];
    opened.forEach((box) => { box.open = true; });
  });
  window.addEventListener("afterprint", () => opened.forEach((box) => { box.open = false; }));

  // A page opened as a file may not read other pages: search without their summaries.
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined")
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
})();
