// What helps while one works, and is needed only then: it comes once the page can be used.

import "./extensions.js";
import "./folds.js";
import "./promptbox.js";
import "./schedule.js";
import "./scripts.js";
