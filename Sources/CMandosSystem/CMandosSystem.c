#include "CMandosSystem.h"
