// Builds elements and brings those on the page up to date. Whatever comes from outside becomes a text or an attribute, never markup.

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "oninput", "onchange", "onsubmit"];

/** An element of HTML; `on...` are handlers, `value` and `checked` properties, all else attributes. */
export function h(tag, props, ...children) {
  return build(document.createElement(tag), props, children);
}

/** The same of SVG. */
export function s(tag, props, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

function build(element, props, children) {
  append(element, children);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (HANDLERS.includes(name) || name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  return element;
}

function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : String(child));
  }
}

/** Makes a container's children those given, keeping the elements that are there, their focus and their scrolling. */
export function render(container, ...children) {
  const fresh = document.createDocumentFragment();
  append(fresh, children);
  align(container, fresh);
}

// Elements with a `data-key` are told apart by it, others by where they stand.
function align(old, fresh) {
  const wanted = new Set([...fresh.children].map(key).filter(Boolean));
  const kept = new Map([...old.children].filter(key).map((child) => [key(child), child]));
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    while (at && key(at) && !wanted.has(key(at))) at = drop(at);
    const known = key(next) ? kept.get(key(next)) : at;
    if (known && alike(known, next)) {
      if (known === at) at = at.nextSibling;
      else old.insertBefore(known, at);
      update(known, next);
    } else {
      old.insertBefore(next, at);
      if (at && !key(at)) at = drop(at);
    }
  }
  while (at) at = drop(at);
}

function drop(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function key(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}

function alike(a, b) {
  return a.nodeName === b.nodeName && key(a) === key(b);
}

function update(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const name of HANDLERS) if (old[name] !== fresh[name]) old[name] = fresh[name];
  // What a chart has drawn is its own.
  if (fresh.hasAttribute("data-keep")) return;
  align(old, fresh);
  if (old !== document.activeElement) values(old, fresh);
}

function values(old, fresh) {
  if (!/^(INPUT|SELECT)$/.test(old.nodeName)) return;
  if (old.value !== fresh.value) old.value = fresh.value;
  if (old.checked !== fresh.checked) old.checked = fresh.checked;
}
