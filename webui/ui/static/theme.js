// Light or dark, before anything is drawn: what this person chose in this browser, else what their system says.
// It is no module, so that it runs before the page is painted.

(() => {
  const KEY = "webui-theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function apply() {
    let chosen = "system";
    try {
      chosen = localStorage.getItem(KEY) ?? "system";
    } catch {
      // a browser that keeps nothing follows the system
    }
    const name = chosen === "system" ? (dark.matches ? "dark" : "light") : chosen;
    document.documentElement.dataset.theme = name;
    document.body?.classList.toggle("dark", name === "dark"); // Gradio's own mark, which it sets after the system
  }

  dark.addEventListener("change", () => setTimeout(apply));
  addEventListener("storage", (event) => event.key === KEY && apply()); // chosen in another tab
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    // Gradio marks the body once it is there; ours is what counts.
    new MutationObserver(() => {
      const wanted = document.documentElement.dataset.theme === "dark";
      if (document.body.classList.contains("dark") !== wanted) document.body.classList.toggle("dark", wanted);
    }).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  });
  apply();

  window.webuiTheme = {
    choose(name) {
      try {
        localStorage.setItem(KEY, name); // so that the next page is in it from its first moment
      } catch {
        document.documentElement.dataset.theme = name === "dark" ? "dark" : "light";
        return;
      }
      apply();
    },
  };
})();
