/**
 * A list of what one timer looks after, pruned now and then. A `Set` that changes with every job would cost more than all the
 * rest of a lock: it is copied each time it fills up, and keeps the garbage collector busy.
 */

/** What a list needs of its items. */
export interface Listed {
  /** Whether the item is in its list. Only the list changes it. */
  isListed: boolean;
}

/** The list is pruned when more than this many removed items are in it, beside one for each that is listed. */
const SLACK = 64;

export class LeaseList<Item extends Listed> implements Iterable<Item> {
  #items: Item[] = [];
  #size = 0;

  /** Adds an item. Harmless when it is listed. */
  add(item: Item): void {
    if (item.isListed) return;
    item.isListed = true;
    this.#items.push(item);
    this.#size++;
  }

  /**
   * Removes an item for good.
   * @returns whether it was listed.
   */
  delete(item: Item): boolean {
    if (!item.isListed) return false;
    item.isListed = false;
    this.#size--;
    if (this.#items.length > 2 * this.#size + SLACK) {
      this.#items = this.#items.filter(({ isListed }) => isListed);
    }
    return true;
  }

  /** Items may be removed meanwhile. */
  *[Symbol.iterator](): Iterator<Item> {
    for (const item of this.#items) if (item.isListed) yield item;
  }
}
