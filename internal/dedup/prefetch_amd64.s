#include "textflag.h"

// func prefetch(k *Key)
TEXT ·prefetch(SB), NOSPLIT, $0-8
	MOVQ k+0(FP), AX
	PREFETCHT0 (AX)
	RET
