// What helps while one works, and is needed only then: it comes once the page can be used.

import "./folds.js";
import { page } from "./page.js";

const { asks } = page.config;
if (asks.includes("/x/prompt")) import("./promptbox.js");
if (asks.includes("/x/schedule")) import("./schedule.js");
if (asks.includes("/x/scripts")) import("./scripts.js");
