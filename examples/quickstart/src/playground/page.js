// The playground: four parts, each with a file of its own.

import "./connections.js";
import { listen } from "./events.js";
import { load } from "./policy.js";
import "./trials.js";

listen();
load();
