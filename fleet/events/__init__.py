"""Events about applications for systems outside: what happened, and how it is delivered."""
