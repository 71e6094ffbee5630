// What the live figures use of Observable Plot. A mark that a figure needs is added here, and the
// bundle built again: npm install && npm run build.
export {
  areaY, arrow, axisX, axisY, barX, barY, cell, contour, dot, frame, gridX, gridY, image, line,
  link, plot, raster, rect, rectY, ruleX, ruleY, text, tickX, tickY, vector,
} from "@observablehq/plot";
