/** Recovery words as a person writes them down and types them again. */

export const WORD_COUNT = 24;

/** Lower case, single spaces; numbers and punctuation of a numbered list are left out. */
export function readWords(text: string): string[] {
  return text
    .toLowerCase()
    .split(/[^\p{L}]+/u)
    .filter((word) => word !== '');
}

/** What is wrong with typed words, in the owner's terms; `undefined` when they can be sent. */
export function problemWithWords(words: readonly string[]): string | undefined {
  if (words.length === WORD_COUNT) return undefined;
  if (words.length === 0) return `Enter the ${WORD_COUNT} words, in their order.`;
  const missing = WORD_COUNT - words.length;
  if (missing > 0) return `${missing} ${missing === 1 ? 'word is' : 'words are'} missing.`;
  return `There are ${-missing} too many: exactly ${WORD_COUNT} words are needed.`;
}

/**
 * Different positions (from 0, ascending) to ask for; one from each part of the list, so that
 * having only its beginning is noticed. `random` is in [0, 1).
 */
export function pickPositions(total: number, count: number, random: () => number): number[] {
  return Array.from({ length: count }, (_, part) => {
    const from = Math.floor((part * total) / count);
    const to = Math.floor(((part + 1) * total) / count);
    return from + Math.floor(random() * (to - from));
  });
}

/** Is `typed` the word at `position`? Case and surrounding space don't matter. */
export function isWordAt(words: readonly string[], position: number, typed: string): boolean {
  const word = words[position];
  return word !== undefined && word.toLowerCase() === typed.trim().toLowerCase();
}
