# the program goes here
