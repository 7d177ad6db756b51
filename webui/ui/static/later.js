// What helps while one works, and is needed only then: it comes once the page can be used.

import "./cards.js";
import "./extensions.js";
import "./folds.js";
import "./panels.js";
import "./promptbox.js";
import "./renewal.js";
import "./schedule.js";
import "./scripts.js";
