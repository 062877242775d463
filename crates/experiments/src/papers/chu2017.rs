//! Chu, Yang and Tadinada, "Visualizing Residual Networks" (arXiv 1701.02362, 2017).

use crate::study::Study;

/// What the blocks of a stage do to a feature, block by block.
pub(crate) const CHU2017: Study = Study {
    name: "chu2017",
    title: "Visualising residual networks: within a stage, features are refined block by block",
    paper: "Chu et al. 2017, arXiv 1701.02362",
    figure: "both kinds of pictures",
    question: "What are identity shortcuts for? The paper shows, for the feature maps after each residual block, the nine \
        images that excite a unit of a chosen channel most, and the guided-backpropagation picture of that unit. It \
        concludes that blocks of one stage refine and sharpen the same features.",
    protocol: "For a block's output (after addition and ReLU; in pre-activation nets before the next block's norm) and a \
        channel, an image's score is the largest value over all positions; of equals the first counts. The nine best \
        images and the guided gradients of their units with respect to the input are cropped to the unit's receptive \
        field, as far as it lies in the image. The same channel is followed through all blocks of a stage, never \
        across a stage's end, where channels do not correspond. Refinement is measured by the correlation, over \
        images and positions, of a channel in consecutive blocks, and by the norm of what a block's branch adds over \
        that of what it is added to.",
};
