/* The direction of a transfer. Here and not in the prelude, for texts have such names of their own. */
#pragma once

#define READ 0
#define WRITE 1
