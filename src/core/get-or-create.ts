/** Keeps one value for each key of a map. */

interface Mapping<Key, Value> {
  get(key: Key): Value | undefined;
  set(key: Key, value: Value): unknown;
}

/** The value of a key; `create` makes it when it is first asked for. */
export function getOrCreate<Key, Value extends object>(
  map: Mapping<Key, Value>,
  key: Key,
  create: () => Value,
): Value {
  const known = map.get(key);
  if (known) return known;
  const created = create();
  map.set(key, created);
  return created;
}
