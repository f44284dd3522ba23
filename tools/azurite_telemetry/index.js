"use strict";

// Azurite only loads this module. Where its telemetry is on, it logs that it cannot use it, and goes on.
