"""Preview objects: what is made for one, and when its time is over. A part of a term, where it is switched on."""
