// Where somebody is: at which instance, in which view, and at what there. All of it is in the address, so that a reload or a link finds it again.

let standing = null;

/** The instance that addresses are of from now on. */
export function stand(instance) {
  standing = instance;
}

/** The address of a view, or of one thing in it, at the instance that is looked at or at another one. */
export function to(view, of = null, instance = standing) {
  return `#/${[instance ?? "", view, ...(of === null ? [] : [of])].map(encodeURIComponent).join("/")}`;
}

/** What an address says, of instances and views by their names. That of a view alone is meant at the instance one is at: `instance` is null. */
export function read(hash, instances, views) {
  const parts = hash.replace(/^#\/?/, "").split("/").map(decoded);
  const alone = !instances.includes(parts[0]) && views.includes(parts[0]);
  const [instance, view, ...of] = alone ? [null, ...parts] : parts;
  return { instance: instance || null, view: views.includes(view) ? view : views[0], of: of.length > 0 ? of.join("/") : null };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
