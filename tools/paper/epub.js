// Turns the pages of the book into chapters of an EPUB. tools/epub.py calls it, behind print.js.

const XHTML = "http://www.w3.org/1999/xhtml", MATHML = "http://www.w3.org/1998/Math/MathML";
// What a chapter is made of. Of other elements, what they hold stays; other attributes go.
const ELEMENTS = new Set((
  "a article blockquote br caption code dd div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr img " +
  "kbd li ol p pre section span strong sub sup table tbody td th thead tr ul").split(" "));
const ATTRIBUTES = ["id", "class", "href", "src", "alt", "colspan", "rowspan", "lang"];

const APPLIED = "\u2061"; // the invisible sign of a function's application
const SCRIPTS = new Set(["msub", "msup", "msubsup", "munder", "mover", "munderover", "mfrac"]);

/** Copy what an element holds as XHTML. An id that stands there twice is that of the first. */
function copy(element, into, ids = new Set()) {
  const document = into.ownerDocument;
  for (const node of element.childNodes) {
    if (node.nodeType === Node.TEXT_NODE) into.append(document.createTextNode(node.data));
    else if (node.nodeType !== Node.ELEMENT_NODE || node.matches(".page-number")) continue;
    else if (node.matches(".katex")) into.append(...formula(node, document));
    else if (ELEMENTS.has(node.localName)) {
      const same = into.appendChild(document.createElementNS(XHTML, node.localName));
      for (const name of ATTRIBUTES)
        if (node.getAttribute(name)) same.setAttribute(name, node.getAttribute(name));
      if (ids.has(node.id)) same.removeAttribute("id");
      ids.add(node.id);
      copy(node, same, ids);
    } else copy(node, into, ids);
  }
}

/** The MathML of a formula, which KaTeX has left beside its picture; its source is read out. */
function formula(katex, document) {
  const math = document.createElementNS(MATHML, "math");
  const source = katex.querySelector("annotation");
  if (!source) return []; // the end of a formula, which is tied to the sign behind it
  math.setAttribute("alttext", source.textContent.trim());
  if (katex.closest(".katex-display")) math.setAttribute("display", "block");
  for (const node of katex.querySelector("semantics").children)
    if (node !== source) math.append(document.importNode(node, true));
  for (const sign of all("mo", math)) { // what KaTeX writes and MathML forbids
    if (sign.children.length) sign.textContent = sign.textContent;
    if (sign.textContent === APPLIED && SCRIPTS.has(sign.parentNode.localName)) sign.remove();
  }
  return [math];
}

/** Let links lead to files of chapters; where a place was left out, to the chapter. */
function leadToFiles(chapters) {
  const places = new Set(chapters.flatMap(({ document }) => all("[id]", document).map((one) => one.id)));
  for (const link of chapters.flatMap(({ document }) => all("a[href^='#']", document))) {
    const place = link.getAttribute("href").slice(1);
    const file = `${place.split("--")[0]}.xhtml`;
    link.setAttribute("href", places.has(place) ? `${file}#${place}` : file);
  }
}

/** Return the chapters: the page of each, its titles with their places, and its text. */
window.makeChapters = ({ pages, address, words }) => {
  const chapters = all("article").map((article) => {
    undress(article, words);
    still(article, address, words);
    gatherSolutions(article, words);
    markChecked(article);
    lead(article, pages, address);
    const document = new DOMParser().parseFromString(`<body xmlns="${XHTML}"/>`, "text/xml");
    copy(make("div", {}, article), document.documentElement);
    return { page: article.dataset.page, document };
  });
  leadToFiles(chapters);
  return chapters.map(({ page, document }) => ({
    page,
    titles: all("h1, section > section > h2", document).map((title) =>
      [textOf(title), title.closest("[id]").id]),
    text: new XMLSerializer().serializeToString(document),
  }));
};
