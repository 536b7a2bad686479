/**
 * Advice on a new password while it is typed. It refuses nothing: the rule is the device's, which
 * answers 422 with its own words.
 */
export const GOOD_LENGTH = 12;

export type Strength = 'short' | 'weak' | 'fair' | 'strong';

export interface Judgement {
  strength: Strength;
  /** For a meter: 0 to 3. */
  score: number;
  advice: string;
}

export function judge(password: string): Judgement {
  const length = [...password].length;
  if (length < GOOD_LENGTH) {
    return {
      strength: 'short',
      score: 0,
      advice: `Short. Take ${GOOD_LENGTH} characters or more: ${GOOD_LENGTH - length} to go.`,
    };
  }
  const bits = estimate(password);
  if (bits < 45) {
    return {
      strength: 'weak',
      score: 1,
      advice: 'Easy to guess. A few unrelated words make a better one.',
    };
  }
  if (bits < 70) {
    return { strength: 'fair', score: 2, advice: 'Good. One more word would make it very good.' };
  }
  return { strength: 'strong', score: 3, advice: 'Very good.' };
}

/** Rough bits: characters that repeat or follow their neighbour (`aaa`, `123`) count little. */
function estimate(password: string): number {
  const classes: readonly [RegExp, number][] = [
    [/[a-z]/, 26],
    [/[A-Z]/, 26],
    [/[0-9]/, 10],
    [/[^a-zA-Z0-9]/, 20],
  ];
  const pool = classes.reduce((sum, [kind, size]) => (kind.test(password) ? sum + size : sum), 0);
  const characters = [...password];
  const distinct = new Set(characters).size;
  let counted = 0;
  characters.forEach((character, index) => {
    const before = characters[index - 1];
    const distance = (character.codePointAt(0) ?? 0) - (before?.codePointAt(0) ?? -9);
    counted += Math.abs(distance) <= 1 ? 0.25 : 1;
  });
  // `abcabcabcabc` is long and yet hardly more than `abc`.
  const effective = Math.min(counted, distinct * 2.5);
  return effective * Math.log2(Math.max(pool, 2)) * 0.8;
}
