// Asks the program. An answer is data; anything else is a sentence that can be shown to a person.

const MARKS = "x-webui-page"; // in every answer: which page is served now

/** Events: "page" with its marks as its detail, with every answer. */
export const heard = new EventTarget();

/** What went wrong, as a sentence; `status` is HTTP's, 0 when there was no answer. */
export class Refused extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** GET `path`, or POST `body` to it as JSON; returns the JSON that is answered, raises `Refused`. */
export async function ask(path, body, options = {}) {
  const request = { credentials: "same-origin", ...options };
  if (body !== undefined) {
    request.method ??= "POST";
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, request);
  } catch {
    throw new Refused("The program does not answer. Is it still running?", 0);
  }
  const answer = await response.json().catch(() => ({}));
  if (response.headers.has(MARKS)) heard.dispatchEvent(new CustomEvent("page", { detail: response.headers.get(MARKS) }));
  if (response.status === 401) signIn();
  if (!response.ok) throw new Refused(answer.error ?? `The program answered ${response.status}.`, response.status);
  return answer;
}

/** Whoever is signed out meanwhile is asked to sign in again, and comes back to where they were. */
function signIn() {
  location.assign("/login");
}
