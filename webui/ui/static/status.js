// A job's state in a few words, to read and to be told.

/** {text, spoken, wrong} of a job; `lost` says that nothing new is heard of it. */
export function status(job, lost) {
  if (lost) return { text: "The connection is lost; trying again …", spoken: "The connection is lost.", wrong: true };
  if (!job) return { text: "", spoken: "", wrong: false };
  if (job.ended) return ended(job);
  const text = job.state === "queued" ? queued(job) : running(job);
  return { text: job.again && job.state === "queued" ? `${job.sentence || "It begins again"} ${text}` : text, spoken: text, wrong: false };
}

function ended(job) {
  const log = job.error ? ` The log has more under ${job.error}.` : "";
  const made = job.cells.filter((cell) => cell.state === "done").length;
  const kept = made === 1 ? "the picture is kept as it was." : made > 1 ? `${made} pictures are kept.` : "there was nothing to keep yet.";
  const texts = {
    finished: ["", "Finished."],
    interrupted: [`Interrupted; ${kept}`],
    cancelled: ["Cancelled."],
    failed: [`${job.sentence || "It failed."}${log}`],
    past: [""],
    gone: [""],
  };
  const [text, spoken = text] = texts[job.ended];
  return { text, spoken: spoken || "Finished.", wrong: job.ended === "failed" };
}

function queued(job) {
  const others = job.position === 1 ? "one job" : `${job.position} jobs`;
  return [job.position ? `Waiting for ${others} before it` : "Next in line", left(job.seconds_left)].filter(Boolean).join(" · ");
}

function running(job) {
  const drawing = job.cells.filter((cell) => cell.state === "drawing");
  if (drawing.length === 0) return job.reading || (job.done > 0 ? "Drawing …" : "Starting …");
  const [cell] = drawing;
  const of = job.pictures > 1 && drawing.length === 1 ? ` of picture ${job.cells.indexOf(cell) + 1}` : "";
  const step = cell.steps ? `Step ${cell.step} of ${cell.steps}${of}` : `Step ${cell.step}${of}`;
  const made = job.cells.filter((each) => each.state === "done").length;
  const count = job.pictures > 1 ? `${made} of ${job.pictures} finished` : "";
  return [step, count, left(job.seconds_left)].filter(Boolean).join(" · ");
}

/** The same in as few words as fit into a list. */
export function brief(job) {
  const place = job.position ? `${job.position} before it` : "next";
  return [job.state === "queued" ? place : `${Math.round(job.fraction * 100)} %`, left(job.seconds_left)].filter(Boolean).join(" · ");
}

/** A time left that does not jump about: rounded the more the longer it is. */
export function left(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1) return "nearly done";
  if (seconds < 10) return `${Math.round(seconds)} s left`;
  if (seconds < 90) return `about ${Math.round(seconds / 5) * 5} s left`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min left`;
  return `about ${Math.round(seconds / 3600)} h left`;
}
