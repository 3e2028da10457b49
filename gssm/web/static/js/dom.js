/** Elements made of their parts, so that no text of a server or a user becomes markup. */

const SVG = "http://www.w3.org/2000/svg";

/** The element of an id; a page without it is broken, and says so.
 * @param {string} id @returns {any} */
export function $(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element ${id}`);
  return found;
}

/** An element with attributes (on… are listeners) and children.
 * @param {string} tag @param {Record<string, any>} [attributes] @param {...any} children */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. @param {string} tag @param {Record<string, any>} [attributes] */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "color") element.style.backgroundColor = value;
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** An icon of the page's symbols. @param {string} name */
export function icon(name) {
  return s("svg", { "aria-hidden": "true" }, s("use", { href: `#i-${name}` }));
}

/** Show a sentence in an element that is hidden without one.
 * @param {HTMLElement} element @param {string|null|undefined} sentence */
export function tell(element, sentence) {
  element.textContent = sentence ?? "";
  element.hidden = !sentence;
}

/** Say something to who does not see the page. @param {string} sentence */
export function say(sentence) {
  $("say").textContent = sentence;
}

let fading = 0;
/** Show a passing note. @param {string} sentence */
export function toast(sentence) {
  const element = $("toast");
  tell(element, sentence);
  clearTimeout(fading);
  fading = setTimeout(() => tell(element, null), 4000);
}

/** Replace the options of a select.
 * @param {HTMLSelectElement} select @param {{value: string, label: string}[]} options
 * @param {string|null} [chosen] */
export function options(select, options, chosen = null) {
  select.replaceChildren(...options.map(({ value, label }) => h("option", { value }, label)));
  if (chosen !== null) select.value = chosen;
}

/** Call after a pause in the calls. @param {Function} run @param {number} milliseconds */
export function debounce(run, milliseconds) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...given), milliseconds);
  };
}
