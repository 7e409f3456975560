"""Files of others: SB3 zips, VecNormalize files, folders of RL Zoo and of the hub. Nothing in them is executed."""
