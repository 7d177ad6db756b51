// What an extension may declare that it does, in words.

const WORDS = new Map([
  ["network", "use the network"], ["files", "use files outside its own folder"], ["routes", "answer at addresses of its own"],
  ["javascript", "run JavaScript in this page"],
]);

/** The permissions as one line. */
export function inWords(permissions) {
  const said = permissions.map((each) => WORDS.get(each) ?? each).join(", ");
  return said ? `${said.charAt(0).toUpperCase()}${said.slice(1)}` : "Nothing beyond the program's own hooks";
}
