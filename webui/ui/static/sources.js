// Where the full view takes its pictures from: a finished list, or one that grows while it is looked through.

/** The pictures of a job. */
export function jobSource(pictures) {
  return { at: async (index) => pictures[index] ?? null, known: () => pictures.length };
}
