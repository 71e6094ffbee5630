// Search as a reader of this book means it: by any usual name or spelling, and the text first.
// Sphinx's own search (searchtools.js) finds words; it is asked once for each spelling.
"use strict";
(function () {
  // Names of one thing: who asks for one of them also wants the others.
  const NAMES = [
    ["elbo", "evidence lower bound", "variational lower bound", "证据下界", "变分下界"],
    ["vae", "variational autoencoder", "variational auto-encoder", "变分自编码器"],
    ["kl divergence", "kullback-leibler divergence", "kl", "kullback-leibler", "relative entropy",
      "kl 散度", "相对熵"],
    ["iwae", "importance-weighted autoencoder", "importance-weighted bound"],
    ["gmm", "gaussian mixture", "mixture of gaussians", "高斯混合模型", "混合高斯模型"],
    ["hmm", "hidden markov model", "隐马尔可夫模型"],
    ["em", "em algorithm", "expectation-maximization"],
    ["mle", "maximum likelihood", "极大似然", "最大似然"],
    ["map", "maximum a posteriori"],
    ["kde", "kernel density"],
    ["gan", "generative adversarial network", "adversarial network", "生成对抗网络"],
    ["ddpm", "denoising diffusion", "diffusion model"],
    ["made", "masked autoencoder"],
    ["pca", "principal components", "主成分分析"],
    ["ppca", "probabilistic pca"],
    ["mmd", "maximum mean discrepancy"],
    ["ess", "effective sample size"],
    ["nll", "negative log-likelihood"],
    ["reparameterization", "reparametrization", "reparameterisation", "reparametrisation", "重参数化", "重新参数化"],
    ["隐变量", "潜在变量"],
    ["隐空间", "潜在空间"],
  ].map((names) => names.map((name) => name.replaceAll("-", " ")));
  const AMERICAN = /\b([a-z]{3,}[^aeiou])iz(e|ed|es|er|ing|ation|ations)\b/g;
  const BRITISH = /\b([a-z]{3,}[^aeiou])is(e|ed|es|er|ing|ation|ations)\b/g;

  function spellings(query) {
    const asked = query.toLowerCase().replace(/[\s-]+/g, " ").trim();
    const found = new Set([asked]);
    for (const names of NAMES) {
      const longest = [...names].sort((a, b) => b.length - a.length);
      const name = longest.find((one) => ` ${asked} `.includes(` ${one} `));
      if (name)
        for (const other of names) found.add(` ${asked} `.replace(` ${name} `, ` ${other} `).trim());
    }
    for (const one of [...found])
      found.add(one.replace(AMERICAN, "$1is$2")).add(one.replace(BRITISH, "$1iz$2"));
    return [...found];
  }

  // The chapters and the glossary explain; the reference of the package lists.
  function rank(page) {
    if (page.startsWith("book/appendices/api")) return 0;
    if (page.startsWith("book/appendices/glossary")) return 2;
    return page.startsWith("book/appendices/") || page === "book/index" ? 1 : 2;
  }

  const search = Search._performSearch;
  Search._performSearch = (query, ...terms) => {
    const found = new Map();
    const pages = new Map(); // how much of a page answers
    const add = (map, key, score) => map.set(key, (map.get(key) ?? 0) + score);
    for (const spelling of spellings(query)) {
      const parsed = spelling === query ? [query, ...terms] : Search._parseQuery(spelling);
      for (const result of search(...parsed)) {
        const [page, title, anchor, description, score] = result;
        const place = [page, anchor, description].join();
        if (found.has(place)) found.get(place)[4] += score;
        else found.set(place, result);
        add(pages, page, score);
        if (title.toLowerCase().includes(spelling)) add(pages, page, Scorer.title);
      }
    }
    // The last one is shown first. What a page has beyond its best two comes behind other pages.
    const places = new Map(); // of each page, the best first
    for (const result of [...found.values()].sort((a, b) => b[4] - a[4]))
      places.set(result[0], [...(places.get(result[0]) ?? []), result]);
    const isFurther = (result) => places.get(result[0]).indexOf(result) > 1;
    return [...found.values()].sort((a, b) =>
      rank(a[0]) - rank(b[0]) || isFurther(b) - isFurther(a) ||
      pages.get(a[0]) - pages.get(b[0]) || a[4] - b[4]);
  };

  // The lines shown of a page: its text, with each formula once.
  Search.htmlToText = (source, anchor) => {
    const page = new DOMParser().parseFromString(source, "text/html");
    for (const unread of page.querySelectorAll(".headerlink, .katex-mathml, script, style"))
      unread.remove();
    const place = (anchor && page.getElementById(anchor.slice(1))) || page.querySelector("article");
    return place ? place.textContent : "";
  };
})();
