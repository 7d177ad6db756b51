// What glow says.

export const WORDS = "a soft glow";
