# A board: its U-Boot keeps the variables on the partition ubootenv itself, twice, and has read them.
