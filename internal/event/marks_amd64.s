#include "textflag.h"

// func markBlocks(p *byte, blocks int, out *uint64) (high uint32)
//
// For each 64-byte block at p, sets the bits of one word of out for the bytes that end or interrupt a JSON string: quote,
// backslash, control characters. high is not 0 when some byte is not ASCII. Needs AVX2.
TEXT ·markBlocks(SB), NOSPLIT, $0-28
	MOVQ p+0(FP), SI
	MOVQ blocks+8(FP), CX
	MOVQ out+16(FP), DI
	MOVQ $0x2222222222222222, AX
	MOVQ AX, X10
	VPBROADCASTQ X10, Y10         // quotes
	MOVQ $0x5c5c5c5c5c5c5c5c, AX
	MOVQ AX, X11
	VPBROADCASTQ X11, Y11         // backslashes
	MOVQ $0x1f1f1f1f1f1f1f1f, AX
	MOVQ AX, X12
	VPBROADCASTQ X12, Y12         // the last control character
	VPXOR Y13, Y13, Y13           // all bytes, or-ed
	TESTQ CX, CX
	JZ done

block:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	VPOR Y0, Y13, Y13
	VPOR Y1, Y13, Y13
	VPCMPEQB Y0, Y10, Y2
	VPCMPEQB Y0, Y11, Y3
	VPMINUB Y0, Y12, Y4
	VPCMPEQB Y0, Y4, Y4
	VPOR Y2, Y3, Y2
	VPOR Y2, Y4, Y2
	VPCMPEQB Y1, Y10, Y5
	VPCMPEQB Y1, Y11, Y6
	VPMINUB Y1, Y12, Y7
	VPCMPEQB Y1, Y7, Y7
	VPOR Y5, Y6, Y5
	VPOR Y5, Y7, Y5
	VPMOVMSKB Y2, AX
	VPMOVMSKB Y5, BX
	SHLQ $32, BX
	ORQ BX, AX
	MOVQ AX, (DI)
	ADDQ $64, SI
	ADDQ $8, DI
	DECQ CX
	JNZ block

done:
	VPMOVMSKB Y13, AX
	VZEROUPPER
	MOVL AX, high+24(FP)
	RET
