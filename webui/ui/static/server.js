// Asks the program. An answer is data; anything else is a sentence that can be shown to a person.

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
  if (response.status === 401) signIn();
  if (!response.ok) throw new Refused(answer.error ?? `The program answered ${response.status}.`, response.status);
  return answer;
}

/** Whoever is signed out meanwhile is asked to sign in again, and comes back to where they were. */
function signIn() {
  location.assign("/login");
}
