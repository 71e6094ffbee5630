// Turns the pages of the book, one behind the other, into a book to print. tools/pdf.py calls it.

const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};
const all = (selector, top = document) => [...top.querySelectorAll(selector)];

const textOf = (element) => element.textContent.trim().replace(/\s+/g, " ");

// The anchor of a place in a page. Several pages use the same ids.
const anchor = (page, id) => `${page}--${id}`.replace(/[^\w-]+/g, "-");
const pageNumber = (target) => {
  const number = make("span", { className: "page-number" });
  number.dataset.target = target;
  return number;
};

/** Take away what only a screen can use, unfold what is folded, and shorten the first page. */
function undress(article, words) {
  const useless = "script, style, .headerlink, button, .visually-hidden, .vb-screen";
  for (const element of all(useless, article)) element.remove();
  for (const fold of all("details", article)) {
    fold.querySelector("summary")?.remove();
    fold.replaceWith(...fold.childNodes);
  }
  if (article.dataset.page !== "index") return;
  article.querySelector("h1").textContent = words.about;
  for (const element of all(".vb-lead, .vb-cover, #contents", article)) element.remove();
}

/** Show the still picture of each live figure, with a link to the figure that moves. */
function still(article, address, words) {
  for (const figure of all(".vaebook-static", article)) {
    const section = figure.closest("section[id]");
    const hidden = figure.querySelector("noscript");
    const picture = make("div", { innerHTML: hidden?.textContent ?? "" }).firstElementChild;
    const href = `${address}${article.dataset.place}#${section?.id ?? ""}`;
    const link = make("a", { href, textContent: words.live });
    const caption = make("figcaption", {}, figure.getAttribute("aria-label") + words.stop, link);
    figure.replaceWith(make("figure", { className: "still" }, ...[picture, caption].filter(Boolean)));
  }
}

/** Put the solutions at the end of the chapter, with links in both directions. */
function gatherSolutions(article, words) {
  const solutions = all("div.solution", article);
  if (!solutions.length) return;
  const title = make("h2", { textContent: words.solutions });
  const section = make("section", { id: "solutions", className: "solutions" }, title);
  for (const solution of solutions) {
    const exercise = solution.querySelector(".admonition-title a[href^='#']");
    const box = exercise && article.querySelector(`[id="${exercise.getAttribute("href").slice(1)}"]`);
    const target = anchor(article.dataset.page, solution.id);
    const [before, after] = words.solution.split("{}");
    const link = make("a", { href: `#${solution.id}` }, before, pageNumber(target), after);
    box?.append(make("p", { className: "to-solution" }, link));
    section.append(solution);
  }
  (article.querySelector(":scope > section") ?? article).append(section);
}

/** Let links lead to places in this document, or to the book on the network. */
function lead(article, pages, address) {
  const here = article.dataset.page;
  for (const element of all("[id]", article)) element.id = anchor(here, element.id);
  article.id = anchor(here, "");
  for (const link of all("a[href]", article)) {
    const url = new URL(link.getAttribute("href"), `https://book.invalid/${article.dataset.place}`);
    link.removeAttribute("title");
    if (url.host !== "book.invalid") continue;
    const file = url.pathname.slice(1);
    const page = pages[file];
    const id = decodeURIComponent(url.hash.slice(1));
    if (page !== undefined) link.setAttribute("href", `#${anchor(page, id)}`);
    else link.setAttribute("href", address + file + url.hash);
  }
}

/** Name each formula for those who hear the book: its source, in the marks that tools/pdf.py knows. */
function speak(article) {
  for (const formula of all(".katex", article)) {
    const source = formula.querySelector("annotation")?.textContent.trim() ?? "";
    const nothing = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";
    const spoken = make("img", { alt: `\\(${source}\\)`, src: nothing, className: "spoken" });
    formula.querySelector(".katex-mathml")?.replaceWith(spoken);
  }
}

/** Put the mark of a checked equation beside its number. */
function markChecked(article) {
  for (const check of all("p.equation-check", article)) {
    const number = check.previousElementSibling?.querySelector(".eqno");
    const link = check.querySelector("a");
    if (number && link) {
      link.textContent = "✓";
      number.append(" ", link);
    }
    check.remove();
  }
}

/** Make each line of code a block, so that a line that is too long goes on below, with a mark. */
function breakLines(article) {
  for (const code of all("pre", article)) {
    const lines = code.innerHTML.trimEnd().split("\n"); // Pygments closes its spans at each line's end
    code.innerHTML = lines.map((line) => `<span class="code-line">${line}</span>`).join("");
  }
}

/** Move the headings one level down: parts of the book are the first level. */
function demote(article) {
  for (const heading of all("h1, h2, h3, h4, h5", article)) {
    const lower = make(`h${Number(heading.tagName[1]) + 1}`, {}, ...heading.childNodes);
    for (const { name, value } of heading.attributes) lower.setAttribute(name, value);
    heading.replaceWith(lower);
  }
}

/** Return an entry of the contents. */
function entry(heading, target) {
  const title = make("span", { textContent: textOf(heading) });
  const link = make("a", { href: `#${target}` }, title, make("span", { className: "leader" }));
  link.append(pageNumber(target));
  return make("li", {}, link);
}

/** Write the contents: parts, chapters, sections. */
function listContents(list) {
  for (const part of all(".part")) {
    const page = part.querySelector(".part-page");
    const chapters = all("article", part).map((article) => {
      const chapter = entry(article.querySelector("h2"), article.id);
      page?.querySelector("ol").append(chapter.cloneNode(true));
      const headings = article.dataset.numbered ? all(":scope > section > section > h3", article) : [];
      const sections = headings.map((heading) => entry(heading, heading.parentElement.id));
      if (sections.length) chapter.append(make("ol", {}, ...sections));
      return chapter;
    });
    if (page) {
      const item = entry(page.querySelector("h1"), page.id);
      item.append(make("ol", {}, ...chapters));
      list.append(item);
    } else list.append(...chapters);
    list.lastElementChild.className = "entry-part";
  }
}

/** Make formulas and tables smaller that are too wide for the paper. All are measured at once. */
function fit() {
  const boxes = [...all(".katex-display"), ...all("article table")];
  const sizes = boxes.map((box) => {
    const room = box.matches("table") ? box.parentElement : box;
    return { room: room.clientWidth, width: box.scrollWidth, height: box.offsetHeight,
      size: parseFloat(getComputedStyle(box).fontSize) };
  });
  boxes.forEach((box, i) => {
    const { room, width, height, size } = sizes[i];
    if (width > room + 1) box.style.fontSize = `${(size * 0.99 * room) / width}px`;
    if (box.matches("table")) box.classList.toggle("long", height > 300);
  });
}

/** Make the book. */
window.makeBook = ({ pages, address, words }) => {
  for (const article of all("article")) {
    undress(article, words);
    still(article, address, words);
    gatherSolutions(article, words);
    markChecked(article);
    lead(article, pages, address);
    speak(article);
    breakLines(article);
    demote(article);
  }
  listContents(document.querySelector(".book-contents > ol"));
  fit();
};

/** Return the headings. In the bookmarks, Chromium drops the space at which a heading is broken. */
window.headings = () => all("h1, h2, h3, h4, h5, h6").map(textOf);

/** Write the page numbers, given the page of each anchor. */
window.numberPages = (pageOf) => {
  for (const place of all(".page-number")) place.textContent = pageOf[place.dataset.target] ?? "";
};

/** Tell whether two Chinese characters look alike, as they do where no font has them. */
window.lacksChinese = () => {
  const draw = (text) => {
    const canvas = make("canvas", { width: 40, height: 40 }), pen = canvas.getContext("2d");
    pen.font = "32px serif";
    pen.fillText(text, 2, 34);
    return canvas.toDataURL();
  };
  return draw("变") === draw("码");
};
