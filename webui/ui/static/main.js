// Everything of the page that is ours: each part registers itself, and is alive once Gradio has put it in its place.

import { page } from "./page.js";
import "./account.js";
import "./gallery.js";
import "./keys.js";
import "./modelfiles.js";
import "./models.js";
import "./pnginfotab.js";
import "./preferences.js";
import "./queue.js";
import "./reading.js";
import "./run.js";
import "./seed.js";
import "./settings.js";
import "./sizes.js";
import "./stage.js";
import "./styles.js";
import "./tabs.js";
import "./viewer.js";

page.stream.open(); // a job may be under way
page.controls[page.tab.task].ready.then(() => Promise.all([import("./start.js"), import("./later.js")])); // what is in no tab that is seen first comes after it
